/* A proxy that knows its users says them in a header. Only from its own addresses is that believed:
 * anybody can write a header. */
#include "base/memory.h"
#include "gateway/auth_method.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NETWORKS_MAX = 64 };

/* Of IPv6; an IPv4 one is ::ffff:a.b.c.d. */
struct network {
    uint8_t bytes[16];
    unsigned bits;
};

struct proxy {
    struct auth_method method;
    struct auth *auth;
    char *header;
    struct network networks[NETWORKS_MAX];
    size_t count;
};

/* Returns how many bits stand before the IPv4 address; -1: it is no address. */
static int read_address(const char *text, uint8_t ret[16]) {
    memset(ret, 0, 16);
    if (inet_pton(AF_INET6, text, ret) == 1)
        return 0;
    ret[10] = ret[11] = 0xff;
    return inet_pton(AF_INET, text, ret + 12) == 1 ? 96 : -1;
}

static bool is_within(const uint8_t address[16], const struct network *network) {
    unsigned whole = network->bits / 8, rest = network->bits % 8;
    if (memcmp(address, network->bytes, whole) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00u >> rest);
    return rest == 0 || ((address[whole] ^ network->bytes[whole]) & mask) == 0;
}

static bool is_the_proxy(const struct proxy *proxy, const char *address) {
    uint8_t bytes[16];
    if (address == NULL || read_address(address, bytes) < 0)
        return false;
    for (size_t i = 0; i < proxy->count; i++)
        if (is_within(bytes, &proxy->networks[i]))
            return true;
    return false;
}

static enum auth_found proxy_find(struct auth_method *self, const struct auth_evidence *evidence,
                                  const struct auth_presented *presented,
                                  struct auth_waiter *waiter, const struct auth_identity **ret,
                                  struct error *err) {
    (void)presented, (void)waiter;
    const struct proxy *proxy = (const struct proxy *)self;
    const char *name = evidence->header(evidence->header_context, proxy->header);
    if (name == NULL)
        return AUTH_UNKNOWN;
    if (!is_the_proxy(proxy, evidence->address)) {
        error_set(err, ERROR_DENIED, "%s does not count from %s, which is none of proxy-addresses",
                  proxy->header, evidence->address != NULL ? evidence->address : "nowhere");
        return AUTH_UNKNOWN;
    }
    *ret = auth_identity_of(proxy->auth, name);
    return *ret != NULL ? AUTH_FOUND : AUTH_UNKNOWN;
}

static void proxy_destroy(struct auth_method *self) {
    struct proxy *proxy = (struct proxy *)self;
    free(proxy->header);
    free(proxy);
}

static const struct auth_method_ops proxy_ops = {
    .name = "the proxy's header",
    .is_last_resort = true,
    .find = proxy_find,
    .destroy = proxy_destroy,
};

static int parse_network(const char *text, struct network *ret, struct error *err) {
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    char *slash = strchr(copy, '/');
    if (slash != NULL)
        *slash = '\0';
    int before = strlen(text) < sizeof copy ? read_address(copy, ret->bytes) : -1;
    ret->bits = 128;
    if (before >= 0 && slash != NULL) {
        char *end;
        unsigned long bits = strtoul(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || bits > 128 - (unsigned)before)
            before = -1;
        ret->bits = (unsigned)before + (unsigned)bits;
    }
    if (before < 0)
        return error_set(err, ERROR_INVALID,
                         "proxy-addresses: \"%.60s\" is no address or network, such as 10.0.0.7 "
                         "or 10.0.0.0/8",
                         text);
    return 0;
}

/* RFC 9110, 5.1. One that cannot be sent would keep everybody out without a word. */
static int check_name(const char *header, struct error *err) {
    size_t length = strspn(header, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                   "!#$%&'*+-.^_`|~");
    return header[length] == '\0' ? 0
                                  : error_set(err, ERROR_INVALID,
                                              "proxy-user-header: \"%.60s\" is no header's name, "
                                              "such as X-Forwarded-User",
                                              header);
}

int auth_proxy_create(struct auth *auth, const struct auth_settings *settings,
                      struct auth_method **ret, struct error *err) {
    struct proxy *proxy = memory_alloc(sizeof *proxy);
    char *const *address = settings->proxy_addresses;
    int failed = check_name(settings->proxy_header, err);
    proxy->method.ops = &proxy_ops;
    proxy->auth = auth;
    proxy->header = memory_strdup(settings->proxy_header);
    for (; failed == 0 && address != NULL && *address != NULL; address++)
        failed = proxy->count == NETWORKS_MAX
                     ? error_set(err, ERROR_LIMIT, "proxy-addresses: more than %d", NETWORKS_MAX)
                     : parse_network(*address, &proxy->networks[proxy->count++], err);
    if (failed == 0 && proxy->count == 0)
        failed = error_set(err, ERROR_INVALID,
                           "proxy-user-header is set without proxy-addresses: say where the proxy "
                           "is, or anybody could say who he is");
    if (failed < 0) {
        proxy_destroy(&proxy->method);
        return -1;
    }
    *ret = &proxy->method;
    return 0;
}
