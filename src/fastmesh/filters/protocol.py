"""What a worker and a filter host say to each other: msgpack arrays, one after the other, over a stream socket.

A call is begun by the worker and ended by the host with DONE or FAILED. Between them the two take turns: the host says
WANTS when it needs the next piece of a body, or GAVE with a piece of what its filter made; the worker answers the
first with PIECE or LAST, the second with MORE. So neither side ever holds more than a piece that nobody asked for.

A host asks for calls through the mesh, by numbers of its own: ASK, and a BRING for each NEXT that the worker says until
the body is there; the worker says ANSWER, and a REST for each FETCH until it is whole, or NO_ANSWER.
Imported by both sides; a worker pays for each import.
"""

# Worker to host. The number of a call stands second in each but OVER.
CALL = 0        # number, exchange (0: nothing is kept), place of the filter, phase, head, facts, answer, argument
CANCEL = 1      # nobody waits for it any more
OVER = 2        # an exchange is over: what is kept for it may go
PIECE = 3       # of a body, at most PIECE_MOST; more follows
LAST = 4        # the last one, perhaps empty; or nil: there is none
MORE = 5        # go on: the piece was taken
NEXT = 6        # number of the ask: the next piece of the body
ANSWER = 7      # number of the ask, status, header fields, piece, whether that is all
REST = 8        # number of the ask, piece, whether it is the last one
NO_ANSWER = 9   # number of the ask, status, reason, text

# Host to worker.
DONE = 0        # number, edits, processor time in ns, result
FAILED = 1      # number, edits, processor time in ns, type of the exception, its line, traceback
GAVE = 2        # number, piece
WANTS = 3       # number
ASK = 4         # number, method, cluster, path, fields, seconds it may take, limit of the answer, size of the body
BRING = 5       # number, piece of the body
FETCH = 6       # number: the next piece of the answer
DROP = 7        # number: nobody waits for it any more

# Edits, in the order they were made: [which, on what, name, value].
SET = 0
ADD = 1
DISCARD = 2
PATH = 3
QUERY = 4
CLUSTER = 5
TIMEOUT = 6
LABEL = 7
UNLABEL = 8
STATUS = 9
SPLIT = 10      # value: [[cluster, weight], …], key
RETRY = 11      # value: as retry_told has it, or nil
SUBSET = 12     # value: [name, value, …], or nil

# On what.
REQUEST = 0
RESPONSE = 1
TRAILERS = 2

PHASES = (
    "on_connection", "on_request", "on_route", "on_request_chunk", "on_request_body", "on_request_stream",
    "on_request_trailers", "on_upstream_error", "on_retry", "on_response", "on_response_chunk", "on_response_body",
    "on_response_stream", "on_response_trailers", "on_complete", "answer")

PIECE_MOST = 65536          # bytes of a piece of a body
MESSAGE_MOST = 98304        # bytes of a message: a head of 64 KiB, and what is said beside it
RESULT_MOST = 16 << 20      # bytes of a body that a filter made, put together
CALLS_MOST = 1024           # calls that wait for a host at the same time
ASKS_MOST = 256             # calls of a host through the mesh at the same time
ASKED_MOST = 512 << 20      # bytes that their bodies and answers may have, all of them together
EDITS_MOST = 1000           # of one call
TEXT_MOST = 8192            # characters of a traceback
