/* By which names we may be called when anybody who gets through is let in. A page whose name was
 * made to lead to 127.0.0.1 (DNS rebinding) is of our own origin to the browser: Origin and Host
 * agree, and only Host tells. */
#include "base/text.h"
#include "gateway/http_internal.h"
#include "gateway/settings.h"

#include <string.h>
#include <strings.h>

enum { HOST_NAME_MAX_BYTES = 255 }; /* RFC 1035, 2.3.4 */

/* "Name.:8888" as "name", "[::1]:8888" as "::1"; up to the path, if there is one. False when it is
 * too long for a name. */
static bool read_name(const char *host, char name[HOST_NAME_MAX_BYTES + 1]) {
    bool is_ipv6 = *host == '[';
    host += is_ipv6;
    size_t length = strcspn(host, is_ipv6 ? "]/" : ":/");
    if (length > HOST_NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < length; i++)
        name[i] = (char)(host[i] >= 'A' && host[i] <= 'Z' ? host[i] + ('a' - 'A') : host[i]);
    if (length > 0 && name[length - 1] == '.')
        length--;
    name[length] = '\0';
    return true;
}

static bool is_host_of(const char *origin, const char *name) {
    char own[HOST_NAME_MAX_BYTES + 1];
    const char *host = strstr(origin, "://");
    return host != NULL && read_name(host + 3, own) && *own != '\0' && strcmp(own, name) == 0;
}

static bool is_listed(char *const *list, const char *name) {
    char wanted[HOST_NAME_MAX_BYTES + 1];
    for (; list != NULL && *list != NULL; list++)
        if (read_name(*list, wanted) && text_glob(wanted, name))
            return true;
    return false;
}

bool http_host_is_ours(const struct http_settings *settings, const char *host) {
    char name[HOST_NAME_MAX_BYTES + 1];
    if (!settings->check_host || *host == '\0') /* browsers never leave it out */
        return true;
    if (!read_name(host, name))
        return false;
    return settings_ip_is_loopback(name) || text_ends_with(name, ".localhost") ||
           strcmp(settings->allow_origin, "*") == 0 || is_host_of(settings->allow_origin, name) ||
           is_listed(settings->allow_hosts, name);
}
