"""The structs of an exchange, and the two tables that join them.

A connection's codec (its *mux*) turns bytes into stream events and back; the stream knows both sides and neither
wire format. HTTP/1 fills the tables now; another version fills the same ones.

Ownership: a down_t owns its stream while one runs (HTTP/1: one at a time), a stream owns its upstream connection
between `on_ready` and pool_give or pool_drop.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.http.body cimport body_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.io.reactor cimport io_t, reactor_t
from fastmesh._core.io.timer cimport timer_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.lb.endpoint cimport endpoint_t
from fastmesh._core.lb.settings cimport hash_key_t
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.mem.counter cimport listener_row_t, stats_t
from fastmesh._core.mem.health cimport health_t
from fastmesh._core.mem.inbox cimport inbox_t
from fastmesh._core.mem.label_table cimport label_table_t
from fastmesh._core.mem.slab cimport slab_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.net.addr cimport addr_t
from fastmesh._core.net.xprt cimport xprt_t
from fastmesh._core.resil.fallback_rule cimport fallback_t
from fastmesh._core.resil.pressure cimport pressure_t
from fastmesh._core.resil.rate_limit cimport drawn_t
from fastmesh._core.resil.retry cimport retry_t
from fastmesh._core.route.decision cimport decision_t
from fastmesh._core.route.mirror_rule cimport mirror_rule_t
from fastmesh._core.route.route_table cimport asker_t, route_t
from fastmesh._core.route.subset_rule cimport subset_rule_t
from fastmesh._core.snapshot.snapshot cimport listener_t, snapshot_t
from fastmesh._core.upstream.pool cimport pool_t, pool_user_ops_t, pool_wait_t, up_t

cdef enum:
    # What a client connection is doing: decides what its timer means.
    DOWN_IDLE = 0             # between requests
    DOWN_HEAD = 1             # part of a head is here
    DOWN_BODY = 2             # a request body is being read
    DOWN_BUSY = 3             # waiting for the answer
    DOWN_LINGER = 4           # answered and half-closed: what still comes is thrown away
    DOWN_CLOSING = 5          # closes when its queue is sent
    DOWN_TUNNEL = 6           # a relay has it

    # stream_t.bits
    S_REQUEST_DONE = 1
    S_ANSWER_HEAD = 2         # the answer's head was queued to the client
    S_ANSWER_DONE = 4
    S_CLOSE_DOWN = 8          # the client connection ends with this answer
    S_CLIENT_ASKED = 16       # because the client asked for it
    S_CLOSE_UP = 32           # the upstream connection is not reused
    S_LOCAL = 64              # answered here
    S_CHUNK_DOWN = 128        # the answer goes out chunked
    S_CHUNK_UP = 256          # the request goes out chunked
    S_UPGRADE = 512           # the client asked for an upgrade that may be passed on
    S_TUNNEL = 1024           # opaque bytes from now on
    S_TCP = 2048              # was opaque from the start
    S_WANT_BODY = 4096        # the request body may come
    S_UP_PAUSED = 8192
    S_BODY_SENT = 16384       # request body bytes went upstream: not to be repeated
    S_ENDING = 32768
    S_HTTP10 = 65536          # the client speaks HTTP/1.0
    S_KEEP_REPLAY = 131072    # body bytes are kept while a retry is possible
    S_MEASURED = 262144
    S_WAITING = 524288        # asked the pool for a connection
    S_NO_BODY = 1048576       # the answer has no body (HEAD, 204, 304)
    # The request's end is on its way upstream, or kept for it: later than S_REQUEST_DONE where filters see the body.
    S_UP_ENDED = 2097152
    S_HOLD_IN = 4194304       # a filter of the request waits for something: no more of its body is read
    S_HOLD_OUT = 8388608      # a filter of the answer waits
    S_LOCAL_SEEN = 16777216   # filters have seen the answer of the proxy's own
    S_RETRY_TOLD = 33554432   # filters know of the attempt that is about to begin
    S_CALL = 67108864         # asked by a filter: there is no client
    S_LATE_LABELS = 134217728 # a filter may set labels after its end: the log's line waits for them
    S_PAUSED = 268435456      # waits for its next attempt: try_timer says when

    # What filters answer.
    FILTER_GO = 0             # go on at once
    FILTER_HELD = 1           # one of them waits: they go on by themselves
    FILTER_OVER = 2           # answered, cut, or on its way again: the stream may be gone, its upstream connection is
    FILTER_COLLECT = 5        # of `response` only: the head waits for the body, which is to be read
    # of `failed` only
    FILTER_DEFAULT = -1       # whatever the proxy does by itself
    FILTER_AGAIN = 3          # one more attempt
    FILTER_GIVE_UP = 4

    # stream_t.taps: where the filters of an exchange are to be asked
    TAP_REQUEST_BODY = 1
    TAP_REQUEST_TRAILERS = 2
    TAP_ERROR = 4
    TAP_RETRY = 8
    TAP_RESPONSE = 16
    TAP_RESPONSE_BODY = 32
    TAP_RESPONSE_TRAILERS = 64

    # stream_t.limited: the first bit of the listener's limits, and of the route's
    LIMITED_LISTENER = 0
    LIMITED_ROUTE = 8

    # What becomes of a request that is watched, step by step.
    STEP_PICKED = 0           # an endpoint
    STEP_SENT = 1             # there is a connection, and the request is on its way
    STEP_FAILED = 2           # the attempt
    STEP_ANSWERED = 3
    STEP_AGAIN = 4            # there is to be another attempt
    STEP_LOCAL = 5            # the proxy answers by itself
    STEP_BESIDE = 6           # an attempt begins beside another one
    STEP_ALONE = 7            # it could have, and does not
    STEP_BESIDE_LOST = 8      # one of several attempts failed, or is given up
    STEP_BESIDE_WON = 9       # the answer is that of one that was begun beside another
    STEP_CUT = 10             # an answer that has begun cannot be finished
    STEP_FALLBACK = 11        # a step of the route's chain takes it
    STEP_EXHAUSTED = 12       # a chain was begun, and no step of it could answer
    STEP_DELAYED = 13         # by a fault of the route
    STEP_SLOWED = 14          # its body, or that of its answer, likewise
    STEP_COPIED = 15          # a mirror gets a copy
    STEP_NOT_COPIED = 16      # it was to get one
    STEP_STEERED = 17         # a filter says where it goes
    STEP_ASKED = 18           # which filters have seen it

    TRIED_MAX = 8
    HEAD_INLINE = 1024
    REPLAY_MAX = 65536

# What a stream asks of the client's side.
ctypedef struct down_ops_t:
    const char *name
    void (*interim)(stream_t *s, msg_t *m) noexcept nogil          # 1xx
    void (*head)(stream_t *s, msg_t *m, int framing) noexcept nogil
    # A whole answer; `end` follows.
    # `fields`: header lines that go with it, each with its line break.
    void (*local)(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil
    # True when enough is queued: `stream_on_client_drained` says when there is room again.
    bint (*body)(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil
    void (*end)(stream_t *s, msg_t *trailers) noexcept nogil       # the stream is freed within
    void (*cut)(stream_t *s) noexcept nogil                        # the answer cannot be finished: freed within
    void (*read)(stream_t *s) noexcept nogil                       # S_WANT_BODY was set: go on with the request's body
    void (*tunnel)(stream_t *s) noexcept nogil                     # opaque bytes from now on: stop parsing
    void (*stands)(stream_t *s) noexcept nogil                     # its route is known: see stream_idle_ns; or NULL

# What a stream asks of the upstream's side.
ctypedef struct up_ops_t:
    const char *name
    void (*prepare)(stream_t *s, msg_t *m, span_t path) noexcept nogil   # encodes the head into s.wire
    void (*head)(stream_t *s) noexcept nogil
    bint (*body)(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil   # as in down_ops_t
    void (*end)(stream_t *s, msg_t *trailers) noexcept nogil
    void (*read)(stream_t *s, bint on) noexcept nogil              # let the answer's body come, or not
    void (*resume)(stream_t *s) noexcept nogil                     # S_HOLD_OUT is over: go on with what is here
    void (*late)(timer_t *t, void *owner) noexcept nogil           # stream_t.try_timer fires
    const pool_user_ops_t *user
    # Attempts beside the stream's own one (proxy/hedge): sends all of the request, which is kept, on `up`.
    void (*again)(stream_t *s, up_t *up, uint32_t attempt) noexcept nogil
    const pool_user_ops_t *beside

# What streams and doors ask of the filters (floor 9); proxy_t.filters is NULL while no snapshot has any. `m` is
# replaced where filters have changed the head. All return FILTER_*.
ctypedef struct filter_ops_t:
    int (*accept)(down_t *d) noexcept nogil                        # FILTER_OVER: closed
    void (*left)(down_t *d) noexcept nogil                         # d.run is to be given back
    int (*request)(stream_t *s, msg_t **m) noexcept nogil          # of the listener, before routing
    # A route and its cluster are chosen. `path`: the normal form, absent when the head's own path is.
    int (*routed)(stream_t *s, msg_t **m, span_t *path) noexcept nogil
    # The policy of the stream's cluster chooses an endpoint; NULL: the compiled pick does. FILTER_OVER: refused.
    int (*pick)(stream_t *s, endpoint_t **e) noexcept nogil
    int (*request_body)(stream_t *s, const uint8_t *p, uint32_t n) noexcept nogil
    int (*request_end)(stream_t *s, msg_t *trailers) noexcept nogil
    void (*request_room)(stream_t *s) noexcept nogil               # the upstream takes more
    int (*failed)(stream_t *s, int why) noexcept nogil             # FILTER_HELD, FILTER_DEFAULT, _AGAIN, _GIVE_UP
    int (*retry)(stream_t *s) noexcept nogil
    int (*response)(stream_t *s, msg_t **m) noexcept nogil
    int (*answer_body)(stream_t *s, const uint8_t *p, uint32_t n) noexcept nogil
    int (*answer_end)(stream_t *s, msg_t *trailers) noexcept nogil
    void (*answer_room)(stream_t *s) noexcept nogil                # the client takes more
    # FILTER_GO: put it as it is. `fields` as in down_ops_t.
    int (*local)(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil
    void (*complete)(stream_t *s) noexcept nogil                   # before it is counted and logged
    void (*release)(stream_t *s) noexcept nogil                    # s.run is to be given back
    void (*applied)(proxy_t *p, snapshot_t *old) noexcept nogil    # p.snap is new; `old` is NULL for the first
    void (*close)(proxy_t *p) noexcept nogil                       # the worker ends: what still waits is ended
    # What the policy of a fallback's step says, by its slot. FILTER_OVER: it has an answer, which degrade_put gives;
    # FILTER_HELD: it thinks, and fallback_on_answer tells of its end; FILTER_GO: nothing.
    int (*degrade_ask)(stream_t *s, uint32_t slot) noexcept nogil
    void (*degrade_put)(stream_t *s) noexcept nogil                # `s` may be gone afterwards
    void (*degrade_forget)(stream_t *s) noexcept nogil             # nobody waits for it any more

# What streams tell of requests that somebody watches (floor 10).
ctypedef struct watch_ops_t:
    void (*begun)(stream_t *s, const msg_t *m) noexcept nogil      # decides whether this one is: then s.account is set
    void (*routed)(stream_t *s, const msg_t *m, const asker_t *who, const decision_t *d) noexcept nogil
    void (*step)(stream_t *s, int what, const char *text) noexcept nogil
    void (*ended)(stream_t *s, uint64_t now_ns) noexcept nogil     # s.account is given back
    # Of what is not the stream's own attempt: STEP_BESIDE and the next, STEP_DELAYED and behind it. `e`: an endpoint,
    # or NULL; `after_ns`: how long an attempt was under way, or a delay is; `text`: why, or what.
    void (*beside)(stream_t *s, int what, const endpoint_t *e, uint64_t after_ns, const char *text) noexcept nogil

ctypedef struct door_t:       # a listening socket
    io_t io
    proxy_t *proxy
    uint32_t id
    const listener_t *listener    # of the current snapshot, or of `snap`; NULL = none names it
    snapshot_t *snap          # one reference, while leaving: the rules for who still stands in the backlog
    listener_row_t *row
    timer_t resume
    uint32_t active           # connections it accepted that are still open
    uint8_t is_on
    uint8_t is_leaving
    door_t *next

ctypedef struct down_t:
    xprt_t x
    proxy_t *proxy
    door_t *door              # counted in door.active; NULL once the door is gone
    const listener_t *listener    # of the snapshot held here
    snapshot_t *snap          # one reference
    listener_row_t *row
    stream_t *stream
    down_t *next              # all of the worker's
    down_t *prev
    timer_t timer
    uint64_t head_ns          # when the first byte of the present head came
    uint64_t tx_seen          # progress of sending when last looked (io_taken, or tx_total at the beginning)
    uint64_t moved_seen       # progress of the exchange when last looked
    uint64_t idle_since_ns
    uint64_t id
    inbox_t inbox
    body_t body
    uint32_t requests
    uint8_t phase
    uint8_t is_processing     # the loop over received bytes is on the stack
    uint8_t is_trusted
    uint8_t is_local_peer     # loopback or Unix
    uint8_t peer_len
    uint8_t eof
    uint8_t gone              # io_close was called
    void *run                 # of the filters: what waits for on_connection
    char peer[48]             # the client's address as in X-Forwarded-For
    addr_t addr

ctypedef struct stream_t:
    pool_wait_t wait          # first: the pool knows the stream by it
    proxy_t *proxy
    down_t *down
    const down_ops_t *down_ops
    const up_ops_t *up_ops
    up_t *up
    snapshot_t *snap          # one reference
    const listener_t *listener
    const route_t *route
    cluster_t *cluster
    endpoint_t *endpoint
    void *relay
    void *copies              # mirrors that wait for the body; NULL = none
    void *run                 # of the filters, one reference; NULL = none takes part
    void *account             # for who watches this request, one reference; NULL = nobody does
    uint32_t taps             # TAP_*
    uint32_t bits
    uint32_t flags            # FLAG_*
    uint8_t method
    uint8_t n_tried
    uint8_t attempts
    uint8_t retried_reused
    uint16_t status
    uint16_t injected         # status of the answer that a fault of the route gives in place of the first attempt
    uint8_t framing           # of the request
    uint8_t up_ended          # while S_HOLD_OUT: 1 = the upstream has ended, 2 = reset
    # A failed attempt, while it is decided what becomes of the request.
    uint8_t fault             # FAULT_*
    uint8_t fault_default     # if no filter decides: see attempt.pyx
    uint8_t has_key
    uint8_t is_unheard        # the endpoint has the request, and its balancer has not heard what became of it
    uint8_t is_probe          # `endpoint` is ejected, and this is the one request that asks whether it is well
    uint8_t fault_may_repeat
    uint16_t fault_status     # of the answer that tells of it; of an upstream's answer, 0 = filters are not asked
    uint32_t fault_flags
    uint64_t fault_until_ns   # its answer asks that there be no further attempt before; 0 = it does not
    const char *fault_details
    const char *fault_why
    uint64_t timeout_ns       # of the request; 0 = none
    const retry_t *retry      # borrowed; NULL = further attempts are made as the cluster's settings say
    uint64_t deadline_ns      # when its client stops waiting, as it said; 0 = it did not
    uint64_t until_ns         # when `timer` is to ring
    uint32_t mark_at          # where in `wire` the number of the attempt is told; 0 = nowhere
    uint16_t mark             # the number that the request came with; 0 = none
    uint32_t deadline_at[3]   # where in `wire` what is left of it is told; 0 = nowhere
    uint8_t deadline_fields   # in which fields: see deadline.pyx
    uint64_t key              # hash of what it is told apart by, when has_key
    uint64_t cookie           # value of the cookie `told`
    const hash_key_t *told    # the cookie that the answer sets; NULL = none
    endpoint_t *wanted        # of its session; NULL = it has none, or its endpoint is gone
    const uint8_t *labels     # of filters, for the log: length, name, length, value … (1, n, 2, n bytes); not owned
    uint32_t labels_len
    void *late                # with S_LATE_LABELS, the line that waits; for `release` to take
    const char *details       # Envoy's response code details; static storage
    endpoint_t *tried[8]
    uint64_t start_ns         # the head was complete
    uint64_t sent_ns          # its last byte was handed to the upstream
    uint64_t first_ns         # first byte of the answer
    uint64_t proxy_ns         # spent here
    uint64_t received         # from the client: head and body
    uint64_t head_bytes       # of that, the head
    uint64_t sent             # to the client: body
    timer_t timer             # request time-out
    timer_t try_timer         # time-out of an attempt; while S_PAUSED, the pause before the next one
    # The request as it goes upstream, kept while it may have to be sent again.
    uint8_t *wire
    uint32_t wire_len
    uint32_t wire_cap
    block_t *wire_blk         # owns wire when it does not fit below
    block_t *replay           # body bytes that may have to be sent again
    uint32_t replay_len
    uint32_t upgrade_off, upgrade_len   # the protocols that the client offers, within wire
    uint32_t path_off, path_len         # behind the head in wire: path and query as received, when they differ
    uint32_t n_drawn          # of `drawn`
    uint32_t limited          # a bit for each limit that refused it, or would have: LIMITED_*
    uint32_t retry_after_s    # of a rate limit's refusal; 0 = none
    uint8_t grpc_status       # of a refusal, for callers that look for one; 0 = none
    uint8_t priority          # PRIORITY_* of resil/pressure
    uint8_t is_retrying       # counted in cluster.live.retrying
    block_t *answer           # copy of the answer's head, for the access log only
    uint32_t answer_len
    uint8_t hedges            # of `attempts`, those that were begun beside another one
    void *hedge               # of proxy/hedge, owned; NULL = no attempt is ever made beside another one, or no more
    void *pace                # of proxy/pacing, owned; NULL = the answer goes as fast as it can
    const fallback_t *fallback    # borrowed; what is done about a failure, from when filters have let it pass; or NULL
    void *keeping             # the copy that is being made of the answer; NULL = none. See keeping.pyx
    uint8_t degraded          # STEP_* that answers in place of the route's cluster; 0 = none
    uint8_t was_sent          # bytes of it have left for an endpoint, of any attempt
    uint8_t is_unasked        # filters have not been asked whether it may pass
    uint8_t fall_step         # how many steps of `fallback` are done with; the failure that began it, while not 0:
    uint8_t fall_reason       # REASON_*
    uint8_t fall_attempts     # of the clusters before this one
    uint16_t fall_code        # of REASON_STATUS
    uint16_t fall_status      # what is answered when no step can
    uint32_t fall_flags
    uint32_t fall_cluster     # row of the cluster that failed
    uint32_t degraded_age_s   # of the copy
    block_t *fall_wire        # the request as the route's cluster got it, when a step has changed it: fallback_head.pyx
    const char *fall_details
    const char *fall_why
    void *late_count          # of label_count, as `late`: for `release` to take
    cluster_t *fall_from      # the one that failed
    uint16_t fall_last_code   # of fall_last
    uint8_t fall_last         # REASON_* of the latest failure: another cluster may have failed, too
    uint8_t is_asking         # the policy of the step that was taken last thinks about an answer
    const char *fall_last_why # in words
    const char *timeout_by    # details of the answer when that is over; NULL = a call, or the filter that is asked now
    const char *injected_by   # details of the answer `injected`
    span_t origin             # that may read the answer: proxy/cors; of the snapshot, or in `origin_blk`
    block_t *origin_blk       # owned; NULL = none
    uint8_t is_preflight      # it has been answered as one
    const subset_rule_t *subset   # borrowed; which subset of a cluster it is for; NULL = none is asked for
    uint8_t subset_how        # 1 + CHOSE_* of lb/subset; 0 = its cluster has none
    uint64_t draw             # what shares of routes go by; 0 = not drawn yet
    void *pace_up             # of proxy/pacing_up, owned; NULL = the request's body goes as fast as it can
    uint8_t faults_held       # a bit for each fault of the route that counts it as under way
    uint8_t injected_grpc     # the answer in `injected` is one for gRPC, with this status; 0 = it is not
    uint8_t inline_[1024]     # from here on nothing is cleared
    drawn_t drawn[8]          # LIMITS_MAX; tokens of rate limits that this request has taken

ctypedef struct proxy_t:
    reactor_t *reactor
    stats_t *stats
    pool_t pool
    slab_t downs_slab
    slab_t streams
    slab_t relays
    down_t *downs
    uint32_t n_downs
    uint32_t max_downs        # 0 = no limit
    down_t *evict_next        # where the next search for an idle connection begins; NULL = at `downs`
    door_t *doors
    snapshot_t *snap          # the current one, one reference
    health_t *health          # what all workers know of endpoints, owned
    void *registry
    const filter_ops_t *filters
    const watch_ops_t *watch_ops
    void *watches             # borrowed from the worker; NULL = nobody has ever watched
    uint32_t n_watches        # who waits for a request now
    uint32_t has_accounts     # some are finished: the loop is to be left
    uint64_t rng
    uint64_t next_id
    # Sends a copy of a request: mirror.pyx.
    void (*copy)(stream_t *s, const mirror_rule_t *rule, block_t *body, uint32_t n) noexcept nogil
    void *mirrors             # copies of requests under way, the latest first
    uint32_t n_mirrors
    void *stale               # copies of answers, by chain: keeping.pyx; NULL = there are none
    const down_ops_t *tcp_ops
    const up_ops_t *h1_up
    bint is_draining
    uint64_t drain_idle_ns    # idle connections are closed after so long
    uint64_t drain_until_ns
    uint64_t date_s           # the second that `date` tells, in monotonic time
    char date[40]             # "date: …\r\n", 37 bytes
    uint64_t stamp_s          # the second that `stamp` tells, since 1970
    char stamp[24]            # ISO 8601 to the second, 19 bytes, for the log
    uint8_t *path             # room for normal forms of paths, 2 x 64 KiB
    msg_t request             # scratch for parsing: nothing in it outlives the event
    msg_t answer
    msg_t trailers
    msg_t logged
    slab_t hedges             # of hedge_t
    pressure_t pressure
    label_table_t *labelled   # owned; NULL until a request is counted by its labels
