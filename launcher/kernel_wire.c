/* OpenSSL's SHA256_* calls instead of EVP_MAC, though 3.0 calls them deprecated: the HMAC of a
 * 442-byte message costs 0.43 us instead of 0.63, and a process that never loads a provider is 1.9
 * MiB smaller. There is a launcher for each kernel, and it does this for every message. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "launcher/kernel_wire.h"

#include "base/secret.h"
#include "base/text.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

const char kernel_wire_delimiter[10] = "<IDS|MSG>";

/* HMAC (RFC 2104) hashes the key block first in both passes: those two states are kept and copied
 * for each message. */
struct kernel_wire {
    SHA256_CTX inner;
    SHA256_CTX outer;
    bool is_signed;
};

enum { HEX_LENGTH = 2 * SHA256_DIGEST_LENGTH, JSON_PARTS = 4 };

struct kernel_wire *kernel_wire_create(const char *key) {
    struct kernel_wire *wire = secret_alloc(sizeof *wire);
    size_t length = strlen(key);
    wire->is_signed = length > 0;
    uint8_t block[SHA256_CBLOCK] = {0};
    if (length > sizeof block)
        SHA256((const uint8_t *)key, length, block);
    else
        memcpy(block, key, length);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36;
    SHA256_Init(&wire->inner);
    SHA256_Update(&wire->inner, block, sizeof block);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36 ^ 0x5C;
    SHA256_Init(&wire->outer);
    SHA256_Update(&wire->outer, block, sizeof block);
    OPENSSL_cleanse(block, sizeof block);
    return wire;
}

void kernel_wire_destroy(struct kernel_wire *wire) {
    secret_free(wire);
}

void kernel_wire_sign(const struct kernel_wire *wire, struct bytes header,
                      struct bytes parent_header, struct bytes metadata, struct bytes content,
                      char signature[KERNEL_WIRE_SIGNATURE_SIZE]) {
    if (!wire->is_signed) {
        signature[0] = '\0';
        return;
    }
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256_CTX state = wire->inner;
    SHA256_Update(&state, header.data, header.length);
    SHA256_Update(&state, parent_header.data, parent_header.length);
    SHA256_Update(&state, metadata.data, metadata.length);
    SHA256_Update(&state, content.data, content.length);
    SHA256_Final(digest, &state);
    state = wire->outer;
    SHA256_Update(&state, digest, sizeof digest);
    SHA256_Final(digest, &state);
    text_hex(digest, sizeof digest, signature);
}

/* Not a JSON check, only what keeps a slip of the kernel from becoming a frame that no client can
 * read. */
static bool is_object(struct bytes part) {
    size_t start = 0;
    size_t end = part.length;
    while (start < end && memchr(" \t\r\n", part.data[start], 4) != NULL)
        start++;
    while (end > start && memchr(" \t\r\n", part.data[end - 1], 4) != NULL)
        end--;
    return end - start >= 2 && part.data[start] == '{' && part.data[end - 1] == '}';
}

static bool is_delimiter(struct bytes part) {
    return part.length == sizeof kernel_wire_delimiter - 1 &&
           memcmp(part.data, kernel_wire_delimiter, part.length) == 0;
}

enum wire_result kernel_wire_parse(const struct kernel_wire *wire, const struct bytes *parts,
                                   size_t count, struct wire_message *ret) {
    size_t at = 0;
    while (at < count && at <= KERNEL_WIRE_IDENTS_MAX && !is_delimiter(parts[at]))
        at++;
    if (at >= count || at > KERNEL_WIRE_IDENTS_MAX)
        return WIRE_MALFORMED;
    size_t rest = count - at - 1;
    if (rest < 1 + JSON_PARTS || rest - 1 > KERNEL_MESSAGE_PARTS_MAX - 1)
        return WIRE_MALFORMED;
    const struct bytes *signature = &parts[at + 1];
    const struct bytes *json = signature + 1;
    if (wire->is_signed) {
        char expected[KERNEL_WIRE_SIGNATURE_SIZE];
        kernel_wire_sign(wire, json[0], json[1], json[2], json[3], expected);
        if (signature->length != HEX_LENGTH ||
            CRYPTO_memcmp(signature->data, expected, HEX_LENGTH) != 0)
            return WIRE_BAD_SIGNATURE;
    }
    for (size_t i = 0; i < JSON_PARTS; i++)
        if (!is_object(json[i]))
            return WIRE_MALFORMED;
    *ret = (struct wire_message){.header = json[0],
                                 .parent_header = json[1],
                                 .metadata = json[2],
                                 .content = json[3],
                                 .buffers = json + JSON_PARTS,
                                 .buffer_count = rest - 1 - JSON_PARTS};
    return WIRE_OK;
}
