"""What load balancers see of a cluster. The class is compiled; this file is what type checkers read."""

from collections.abc import Mapping

class Balancer:
    """The policy of one cluster of one snapshot. Nothing of it is for Python."""

class Endpoint:
    """One endpoint of a cluster, as this worker sees it: the numbers are its own, those of other workers are theirs.

    It may be looked at while `weights` or `pick` runs, and raises ViewClosed otherwise: keep its `address`.
    """

    @property
    def address(self) -> str:
        """As the configuration has it, and as `request.endpoint` and logs show it."""
    @property
    def weight(self) -> int:
        """That of the configuration, or of who found it."""
    @property
    def metadata(self) -> Mapping[str, str]:
        """What else the configuration says of it, or who found it: a read-only mapping, empty when nothing is said."""
    @property
    def priority(self) -> int:
        """0 is asked first. A cluster whose endpoints were found has no others."""
    @property
    def zone(self) -> str:
        """Where it is, as the configuration says; "" when it does not."""
    @property
    def active(self) -> int:
        """Requests in flight, or connections of a TCP listener."""
    @property
    def waiting(self) -> int:
        """Requests that wait for a connection to it."""
    @property
    def connections(self) -> int:
        """Open ones, idle ones included."""
    @property
    def requests(self) -> int:
        """Attempts that have begun, ever: keep the number to know how many came since."""
    @property
    def failures(self) -> int:
        """Of them, how many failed: no connection, a reset, a broken answer, or a status of 500 and above."""
    @property
    def connect_failures(self) -> int:
        """Of them, how many could not be connected."""
    @property
    def latency(self) -> float | None:
        """Seconds from a request sent to the first byte of its answer, smoothed: each answer moves it by an eighth of
        the difference. None before the first answer; as it was, when nothing is sent there any more."""
    @property
    def answers(self) -> int:
        """Answers that have begun since this worker knows the endpoint."""
    @property
    def answer_time(self) -> float:
        """Seconds that were waited for the first byte of all of them together: what this and `answers` have grown by
        gives the mean of an interval."""
    @property
    def is_avoided(self) -> bool:
        """Nothing is picked there: it could not be connected to and is left alone for a while, it is ejected, or it
        does not pass its health checks."""
    @property
    def is_unhealthy(self) -> bool:
        """It does not pass its health checks, or has not been checked yet."""
    @property
    def was_tried(self) -> bool:
        """In `pick`: an attempt of this very request has failed there, and the next one goes elsewhere."""
