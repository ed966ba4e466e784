-- Prints what wrk counted as one line of JSON.  wrk sends its fixed request, unless the environment asks for routes or
-- clusters: then it takes so many paths, or so many hosts, in turn.
if os.getenv("BENCH_KIND") then
   local kind, count, at, requests = os.getenv("BENCH_KIND"), tonumber(os.getenv("BENCH_COUNT")), 0, {}
   function init(args)
      for k = 0, count - 1 do
         local routes = kind == "routes"
         local path = routes and string.format("/kind-%d/item", k) or "/"
         wrk.headers["Host"] = routes and "bench" or string.format("service-%d.test", k)
         requests[k] = wrk.format(nil, path)
      end
   end
   function request()
      at = (at + 1) % count
      return requests[at]
   end
end

done = function(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "duration_us": %d, "bytes": %d, "failed": %d, "p50": %d, "p90": %d, "p99": %d, "p999": %d, "max": %d}\n',
      summary.requests, summary.duration, summary.bytes, e.connect + e.read + e.write + e.status + e.timeout,
      latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9), latency.max))
end
