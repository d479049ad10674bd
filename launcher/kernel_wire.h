/* Jupyter's ZeroMQ messages (Jupyter documentation, "Messaging in Jupyter", the wire protocol):
 * idents, <IDS|MSG>, HMAC-SHA256 as hex, header, parent_header, metadata, content, buffers. Bytes
 * only: no sockets, no JSON trees. */
#pragma once

#include "base/error.h"
#include "launcher/kernel_message.h"

#include <stddef.h>
#include <stdint.h>

struct kernel_wire;

enum {
    KERNEL_WIRE_SIGNATURE_SIZE = 65, /* hex and NUL */
    KERNEL_WIRE_IDENTS_MAX = 8, /* topic or identities before the delimiter; kernels send 0 or 1 */
    /* delimiter, signature and what kernel_message.h's layout can carry without its channel part */
    KERNEL_WIRE_PARTS_MAX = KERNEL_WIRE_IDENTS_MAX + 2 + KERNEL_MESSAGE_PARTS_MAX - 1,
};

extern const char kernel_wire_delimiter[10]; /* "<IDS|MSG>" */

/* One message as it came: everything points into the parts. */
struct wire_message {
    struct bytes header, parent_header, metadata, content;
    const struct bytes *buffers;
    size_t buffer_count;
};

enum wire_result {
    WIRE_OK,
    WIRE_MALFORMED,     /* parts missing, too many, or a JSON part that is no object */
    WIRE_BAD_SIGNATURE, /* made with another key, or changed on its way */
};

/* An empty key means that nothing is signed or checked, as the wire protocol has it. The key is
 * copied. */
struct kernel_wire *kernel_wire_create(const char *key);
void kernel_wire_destroy(struct kernel_wire *wire);

/* The signature over the four JSON parts; "" with an empty key. */
void kernel_wire_sign(const struct kernel_wire *wire, struct bytes header,
                      struct bytes parent_header, struct bytes metadata, struct bytes content,
                      char signature[KERNEL_WIRE_SIGNATURE_SIZE]);

/* Takes a received multipart message apart and checks its signature in constant time. */
enum wire_result kernel_wire_parse(const struct kernel_wire *wire, const struct bytes *parts,
                                   size_t count, struct wire_message *ret);
