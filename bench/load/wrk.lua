-- Prints what wrk counted as one line of JSON; without a request function wrk sends its fixed request.
done = function(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "duration_us": %d, "bytes": %d, "failed": %d, "p50": %d, "p90": %d, "p99": %d, "p999": %d, "max": %d}\n',
      summary.requests, summary.duration, summary.bytes, e.connect + e.read + e.write + e.status + e.timeout,
      latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9), latency.max))
end
