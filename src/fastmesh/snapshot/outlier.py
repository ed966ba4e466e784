"""How a cluster's outlier detection is written into a snapshot."""

from fastmesh.config.outlier import Outlier


def outlier_record(outlier: Outlier) -> list[int] | None:
    """The item `outlier` of a cluster; None where nobody is watched."""
    if not outlier.enabled:
        return None
    rate, failures, latency = outlier.success_rate, outlier.failure_percentage, outlier.latency
    return [
        outlier.server_errors, outlier.gateway_errors, outlier.connect_failures, outlier.timeouts, outlier.interval,
        rate.factor, rate.min_hosts, rate.min_requests,
        failures.threshold, failures.min_hosts, failures.min_requests,
        *((0, 0, 0) if latency is None else (latency.factor, latency.at_least, latency.min_requests)),
        outlier.base, outlier.max, outlier.jitter, outlier.max_ejected,
        0 if outlier.dry_run else outlier.enforce, outlier.ramp,
    ]
