#include "gateway/http_limits.h"

#include "base/list.h"
#include "base/map.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    SPARES_MAX = 128, /* connections that are only told why there is no place for them */
    RESERVE_SHARE = 8,
    RESERVE_MIN = 32,
    RESERVE_MAX = 1024,
    STRANGERS_SHARE = 2, /* of the input: that of clients who have not said who they are */
};

enum kind { CONNECTION, REQUEST, SPARE, KINDS };

struct http_limits {
    const struct http_settings *settings;
    struct list seats;
    size_t counts[KINDS];
    struct map *users[KINDS]; /* name -> how many */
    struct map *addresses;    /* of connections */
    struct map *inputs;       /* user -> bytes */
    size_t input, strangers_input;
    uint64_t refused;
};

struct http_seat {
    struct list_node node;
    struct http_limits *limits; /* NULL: it has gone */
    enum kind kind;
    const char *user; /* an identity's; NULL: nobody in particular */
    char *address;    /* NULL: a request's */
    bool is_admitted; /* it is known who it is, be it the one that all are */
    size_t held;      /* bytes of input */
};

struct http_limits *http_limits_create(const struct http_settings *settings) {
    struct http_limits *limits = memory_alloc(sizeof *limits);
    limits->settings = settings;
    list_init(&limits->seats);
    limits->addresses = map_create();
    limits->inputs = map_create();
    for (int kind = 0; kind < KINDS; kind++)
        limits->users[kind] = map_create();
    return limits;
}

void http_limits_destroy(struct http_limits *limits) {
    if (limits == NULL)
        return;
    list_each (&limits->seats, struct http_seat, node, seat) {
        list_remove(&seat->node);
        seat->limits = NULL;
    }
    map_destroy(limits->addresses);
    map_destroy(limits->inputs);
    for (int kind = 0; kind < KINDS; kind++)
        map_destroy(limits->users[kind]);
    free(limits);
}

void http_limits_count(const struct http_limits *limits, struct http_load *ret) {
    ret->connections = limits->counts[CONNECTION];
    ret->requests = limits->counts[REQUEST];
    ret->input = limits->input;
    ret->refused = limits->refused;
}

static size_t count_of(const struct map *map, const char *key) {
    return (size_t)(uintptr_t)map_get(map, key);
}

static void set_count(struct map *map, const char *key, size_t count) {
    if (count > 0)
        map_put(map, key, (void *)(uintptr_t)count);
    else
        map_remove(map, key);
}

static struct http_seat *sit(struct http_limits *limits, enum kind kind, const char *user,
                             const char *address) {
    struct http_seat *seat = memory_alloc(sizeof *seat);
    *seat = (struct http_seat){.limits = limits, .kind = kind, .user = user};
    list_append(&limits->seats, &seat->node);
    limits->counts[kind]++;
    if (user != NULL)
        set_count(limits->users[kind], user, count_of(limits->users[kind], user) + 1);
    if (address != NULL) {
        seat->address = memory_strdup(address);
        set_count(limits->addresses, address, count_of(limits->addresses, address) + 1);
    }
    return seat;
}

static void set_held(struct http_seat *seat, size_t bytes) {
    struct http_limits *limits = seat->limits;
    if (bytes == seat->held)
        return;
    limits->input = limits->input - seat->held + bytes;
    if (!seat->is_admitted)
        limits->strangers_input = limits->strangers_input - seat->held + bytes;
    if (seat->user != NULL)
        set_count(limits->inputs, seat->user,
                  count_of(limits->inputs, seat->user) - seat->held + bytes);
    seat->held = bytes;
}

static void leave_address(struct http_seat *seat) {
    struct map *addresses = seat->limits->addresses;
    if (seat->address != NULL)
        set_count(addresses, seat->address, count_of(addresses, seat->address) - 1);
    free(seat->address);
    seat->address = NULL;
}

/* It holds nothing afterwards. */
static void leave_user(struct http_seat *seat) {
    struct map *users = seat->limits->users[seat->kind];
    set_held(seat, 0);
    if (seat->user != NULL)
        set_count(users, seat->user, count_of(users, seat->user) - 1);
    seat->user = NULL;
}

void http_seat_free(struct http_seat *seat) {
    if (seat == NULL)
        return;
    struct http_limits *limits = seat->limits;
    if (limits != NULL) {
        list_remove(&seat->node);
        leave_user(seat);
        leave_address(seat);
        limits->counts[seat->kind]--;
    }
    free(seat->address);
    free(seat);
}

static bool is_reached(int64_t limit, size_t count) {
    return limit > 0 && count >= (size_t)limit;
}

/* cause: what error_set has taken away again. */
static int refuse(struct http_limits *limits, const char *setting, struct error *err) {
    err->cause = setting;
    limits->refused++;
    return -1;
}

/* How many descriptors clients may not have. */
static rlim_t reserve_of(rlim_t limit) {
    rlim_t share = limit / RESERVE_SHARE;
    return share < RESERVE_MIN ? RESERVE_MIN : share > RESERVE_MAX ? RESERVE_MAX : share;
}

static int check_connection(struct http_limits *limits, const char *address, bool has_file,
                            struct error *err) {
    const struct http_settings *settings = limits->settings;
    size_t own = count_of(limits->addresses, address);
    if (!has_file) {
        error_set(err, ERROR_UNAVAILABLE,
                  "clients have all %zu connections that the limit of open files leaves them "
                  "(max-connections); try again later",
                  limits->counts[CONNECTION]);
        return refuse(limits, "max-connections", err);
    }
    if (is_reached(settings->connections_max, limits->counts[CONNECTION])) {
        error_set(err, ERROR_UNAVAILABLE,
                  "there are %zu connections, which is all that this gateway takes "
                  "(max-connections); try again later",
                  limits->counts[CONNECTION]);
        return refuse(limits, "max-connections", err);
    }
    if (!is_reached(settings->connections_per_address_max, own))
        return 0;
    error_set(err, ERROR_BUSY,
              "%s has %zu connections, which is all that one address may have "
              "(max-connections-per-address); close some, or try again later",
              address, own);
    return refuse(limits, "max-connections-per-address", err);
}

/* One host may choose any address of its network of 64 bits. */
static void write_network(const char *address, char network[INET6_ADDRSTRLEN]) {
    struct in6_addr six;
    snprintf(network, INET6_ADDRSTRLEN, "%s", address);
    if (inet_pton(AF_INET6, address, &six) != 1)
        return;
    memset(six.s6_addr + 8, 0, 8);
    inet_ntop(AF_INET6, &six, network, INET6_ADDRSTRLEN);
}

int http_seat_connection(struct http_limits *limits, const char *address, int fd,
                         struct http_seat **ret, struct error *err) {
    struct rlimit files = {.rlim_cur = RLIM_INFINITY};
    getrlimit(RLIMIT_NOFILE, &files);
    rlim_t reserve = reserve_of(files.rlim_cur), next = (rlim_t)fd + 1;
    char network[INET6_ADDRSTRLEN];
    write_network(address, network);
    if (check_connection(limits, network, next + reserve <= files.rlim_cur, err) == 0) {
        *ret = sit(limits, CONNECTION, NULL, network);
        return 0;
    }
    bool is_room =
        limits->counts[SPARE] < SPARES_MAX && next + reserve - reserve / 4 <= files.rlim_cur;
    *ret = is_room ? sit(limits, SPARE, NULL, NULL) : NULL;
    return -1;
}

static const char *name_of(const struct auth_identity *identity) {
    return identity != NULL && identity->verified ? identity->name : NULL;
}

int http_seat_use(struct http_seat *seat, const struct auth_identity *identity, struct error *err) {
    struct map *users = seat->limits->users[seat->kind];
    const char *user = name_of(identity);
    if (seat->is_admitted && user == seat->user) /* there is one identity of each name */
        return 0;
    leave_user(seat);
    seat->is_admitted = true;
    if (user == NULL)
        return 0;
    size_t own = count_of(users, user);
    if (is_reached(seat->limits->settings->connections_per_user_max, own)) {
        error_set(err, ERROR_BUSY,
                  "%s has %zu connections, which is all that one user may have "
                  "(max-connections-per-user); close some, or try again later",
                  user, own);
        return refuse(seat->limits, "max-connections-per-user", err);
    }
    leave_address(seat); /* many users may come over one proxy */
    seat->user = user;
    set_count(users, user, own + 1);
    return 0;
}

int http_seat_request(struct http_limits *limits, const struct auth_identity *identity,
                      struct http_seat **ret, struct error *err) {
    const struct http_settings *settings = limits->settings;
    const char *user = name_of(identity);
    size_t own = user != NULL ? count_of(limits->users[REQUEST], user) : 0;
    if (is_reached(settings->requests_max, limits->counts[REQUEST])) {
        error_set(err, ERROR_UNAVAILABLE,
                  "%zu requests are under way, which is all that this gateway does at once "
                  "(max-requests); try again later",
                  limits->counts[REQUEST]);
        return refuse(limits, "max-requests", err);
    }
    if (is_reached(settings->requests_per_user_max, own)) {
        error_set(err, ERROR_BUSY,
                  "%s has %zu requests under way, which is all that one user may have at once "
                  "(max-requests-per-user); wait for some of them",
                  user, own);
        return refuse(limits, "max-requests-per-user", err);
    }
    *ret = sit(limits, REQUEST, user, NULL);
    (*ret)->is_admitted = true;
    return 0;
}

static bool is_too_much(int64_t limit, size_t held, size_t more) {
    return limit > 0 && (held > (size_t)limit || more > (size_t)limit - held);
}

/* The texts fit into a WebSocket's close frame. */
static int check_input(const struct http_seat *seat, size_t more, struct error *err) {
    struct http_limits *limits = seat->limits;
    const struct http_settings *settings = limits->settings;
    size_t own = seat->user != NULL ? count_of(limits->inputs, seat->user) : 0;
    if (seat->user != NULL && is_too_much(settings->input_per_user_max, own, more)) {
        error_set(err, ERROR_BUSY,
                  "one user's unfinished messages and requests may hold %" PRId64
                  " bytes (max-input-bytes-per-user)",
                  settings->input_per_user_max);
        return refuse(limits, "max-input-bytes-per-user", err);
    }
    bool has_no_share =
        !seat->is_admitted && settings->input_max > 0 &&
        is_too_much(settings->input_max / STRANGERS_SHARE, limits->strangers_input, more);
    if (!has_no_share && !is_too_much(settings->input_max, limits->input, more))
        return 0;
    error_set(err, ERROR_UNAVAILABLE,
              "unfinished messages and requests hold all %" PRId64
              " bytes they may (max-input-bytes): try again later",
              settings->input_max);
    return refuse(limits, "max-input-bytes", err);
}

int http_seat_hold(struct http_seat *seat, size_t bytes, struct error *err) {
    if (seat->limits == NULL)
        return 0;
    if (bytes > seat->held && check_input(seat, bytes - seat->held, err) < 0)
        return -1;
    set_held(seat, bytes);
    return 0;
}
