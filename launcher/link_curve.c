#include "launcher/link_curve.h"

#include "base/clock.h"
#include "base/memory.h"
#include "launcher/link_strangers.h"

#include <openssl/crypto.h>
#include <string.h>

#define LOG_AREA "launcher/link_curve"
#include "base/log.h"

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define ZAP_DOMAIN   "elara"
#define MAPPED       "::ffff:" /* an IPv4 address on a socket of IPv6 */

enum {
    /* Who does not finish the handshake by then is gone. A gateway needs a few milliseconds, a
     * launcher whose kernel takes all the CPU it is allowed some hundred. */
    HANDSHAKE_MS = 10000,
    /* A gateway whose node is gone says no farewell: its connection would stay for ever. */
    KEEPALIVE_IDLE_S = 60,
    KEEPALIVE_INTERVAL_S = 15,
    KEEPALIVE_COUNT = 4,
    LOG_EVERY_MS = 60000,
    TURN_REQUESTS = 64,
    FIELD_SIZE = 256,
};

/* The parts of a request that are looked at, in ZAP's order. */
enum {
    ZAP_VERSION,
    ZAP_REQUEST_ID,
    ZAP_DOMAIN_NAME,
    ZAP_ADDRESS,
    ZAP_IDENTITY,
    ZAP_MECHANISM,
    ZAP_KEY,
    ZAP_PARTS
};

struct zap_request {
    char parts[ZAP_PARTS][FIELD_SIZE];
    size_t lengths[ZAP_PARTS];
    unsigned count; /* of parts that came */
    bool is_cut;    /* one was longer than we look */
};

struct link_curve {
    zloop_t *loop;
    zsock_t *handler;
    struct link_strangers *strangers;
    uint8_t gateway[LINK_CURVE_KEY_BYTES];
    uint64_t refused, told;
    int64_t told_ms;
};

static bool is_part(const struct zap_request *request, int part, const char *text) {
    return request->lengths[part] == strlen(text) &&
           memcmp(request->parts[part], text, request->lengths[part]) == 0;
}

/* Takes one request off the socket; false when there is none. */
static bool receive(void *socket, struct zap_request *request) {
    *request = (struct zap_request){.count = 0};
    int more = 1;
    size_t size = sizeof more;
    while (more) {
        char surplus[FIELD_SIZE];
        bool is_kept = request->count < ZAP_PARTS;
        char *part = is_kept ? request->parts[request->count] : surplus;
        int length = zmq_recv(socket, part, FIELD_SIZE, ZMQ_DONTWAIT);
        if (length < 0)
            return false;
        if (is_kept)
            request->lengths[request->count] = length < FIELD_SIZE ? (size_t)length : FIELD_SIZE;
        request->is_cut |= length > FIELD_SIZE;
        request->count++;
        if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) < 0)
            return false;
    }
    return true;
}

static bool is_welcome(const struct link_curve *curve, const struct zap_request *request) {
    return request->count == ZAP_PARTS && !request->is_cut &&
           is_part(request, ZAP_VERSION, "1.0") && is_part(request, ZAP_DOMAIN_NAME, ZAP_DOMAIN) &&
           is_part(request, ZAP_MECHANISM, "CURVE") &&
           request->lengths[ZAP_KEY] == LINK_CURVE_KEY_BYTES &&
           CRYPTO_memcmp(request->parts[ZAP_KEY], curve->gateway, LINK_CURVE_KEY_BYTES) == 0;
}

static void reply(void *socket, const struct zap_request *request, bool welcome) {
    const struct {
        const char *data;
        size_t length;
    } parts[] = {
        {"1.0", 3},
        {request->parts[ZAP_REQUEST_ID], request->lengths[ZAP_REQUEST_ID]},
        {welcome ? "200" : "400", 3},
        {welcome ? "OK" : "refused", welcome ? 2 : 7},
        {"gateway", welcome ? 7 : 0}, /* user id */
        {"", 0},                      /* metadata */
    };
    enum { COUNT = sizeof parts / sizeof *parts };
    for (int i = 0; i < COUNT; i++)
        zmq_send(socket, parts[i].data, parts[i].length,
                 ZMQ_DONTWAIT | (i < COUNT - 1 ? ZMQ_SNDMORE : 0));
}

/* Others cause it as fast as they like. */
static void note_refusal(struct link_curve *curve, const struct zap_request *request) {
    int64_t now_ms = clock_monotonic_ms();
    curve->refused++;
    if (curve->told > 0 && now_ms - curve->told_ms < LOG_EVERY_MS)
        return;
    const char *address = request->parts[ZAP_ADDRESS];
    size_t length = request->lengths[ZAP_ADDRESS];
    if (length > strlen(MAPPED) && memcmp(address, MAPPED, strlen(MAPPED)) == 0) {
        address += strlen(MAPPED);
        length -= strlen(MAPPED);
    }
    log_warning("a connection from %.*s is refused: its key is not that of the gateways which this "
                "kernel belongs to (%llu refused so far)",
                (int)length, address, (unsigned long long)curve->refused);
    curve->told = curve->refused;
    curve->told_ms = now_ms;
}

static int on_request(zloop_t *loop, zsock_t *handler, void *context) {
    (void)loop;
    struct link_curve *curve = context;
    void *socket = zsock_resolve(handler);
    struct zap_request request;
    for (int i = 0; i < TURN_REQUESTS && receive(socket, &request); i++) {
        bool welcome = is_welcome(curve, &request);
        if (!welcome)
            note_refusal(curve, &request);
        reply(socket, &request, welcome);
    }
    return 0;
}

static int open_handler(struct link_curve *curve, struct error *err) {
    curve->handler = zsock_new(ZMQ_REP);
    if (curve->handler == NULL)
        return error_set(err, ERROR_SYSTEM, "link: no socket");
    zsock_set_linger(curve->handler, 0);
    if (zmq_bind(zsock_resolve(curve->handler), ZAP_ENDPOINT) < 0)
        return error_set(err, ERROR_SYSTEM, "link: %s: %s", ZAP_ENDPOINT,
                         zmq_strerror(zmq_errno()));
    if (zloop_reader(curve->loop, curve->handler, on_request, curve) < 0)
        return error_set(err, ERROR_SYSTEM, "link: the loop does not take the socket");
    zloop_reader_set_tolerant(curve->loop, curve->handler);
    return 0;
}

static int secure(void *socket, const struct link_curve_keys *keys, struct error *err) {
    static const struct {
        int option, value;
    } numbers[] = {
        {ZMQ_CURVE_SERVER, 1},
        {ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS},
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_S},
        {ZMQ_TCP_KEEPALIVE_INTVL, KEEPALIVE_INTERVAL_S},
        {ZMQ_TCP_KEEPALIVE_CNT, KEEPALIVE_COUNT},
        {ZMQ_IPV6, 1}, /* both, where the machine has both */
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (zmq_setsockopt(socket, numbers[i].option, &numbers[i].value, sizeof numbers[i].value) <
            0)
            return error_set(err, ERROR_SYSTEM, "link: ZeroMQ option %d: %s", numbers[i].option,
                             zmq_strerror(zmq_errno()));
    if (zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, strlen(ZAP_DOMAIN)) < 0 ||
        zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, keys->secret, sizeof keys->secret) < 0)
        return error_set(err, ERROR_SYSTEM, "link: CURVE: %s", zmq_strerror(zmq_errno()));
    return 0;
}

int link_curve_create(zloop_t *loop, zsock_t *socket, const struct link_curve_keys *keys,
                      struct link_curve **ret, struct error *err) {
    struct link_curve *curve = memory_alloc(sizeof *curve);
    curve->loop = loop;
    memcpy(curve->gateway, keys->gateway, sizeof curve->gateway);
    if (open_handler(curve, err) < 0 || secure(zsock_resolve(socket), keys, err) < 0 ||
        link_strangers_create(loop, socket, &curve->strangers, err) < 0) {
        link_curve_destroy(&curve);
        return -1;
    }
    *ret = curve;
    return 0;
}

void link_curve_heard(struct link_curve *curve, zmq_msg_t *message) {
    link_strangers_heard(curve->strangers, message);
}

void link_curve_unwatch(struct link_curve *curve) {
    if (curve != NULL)
        link_strangers_destroy(&curve->strangers);
}

void link_curve_destroy(struct link_curve **place) {
    struct link_curve *curve = *place;
    *place = NULL;
    if (curve == NULL)
        return;
    link_curve_unwatch(curve);
    if (curve->handler != NULL) {
        zloop_reader_end(curve->loop, curve->handler);
        zmq_unbind(zsock_resolve(curve->handler), ZAP_ENDPOINT); /* now, not some time later */
    }
    zsock_destroy(&curve->handler);
    free(curve);
}

uint64_t link_curve_refused(const struct link_curve *curve) {
    return curve->refused;
}

size_t link_curve_strangers(const struct link_curve *curve) {
    return link_strangers_count(curve->strangers);
}
