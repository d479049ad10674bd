/* Signing against the vectors of RFC 4231, and every way in which a kernel's message can be
 * wrong. */
#include "launcher/kernel_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct bytes bytes_of(const char *text) {
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

static void expect_signature(const char *key, const char *a, const char *b, const char *expected) {
    char signature[KERNEL_WIRE_SIGNATURE_SIZE];
    struct kernel_wire *wire = kernel_wire_create(key);
    for (int i = 0; i < 2; i++) { /* the kept state is not used up */
        kernel_wire_sign(wire, bytes_of(a), bytes_of(b), bytes_of(""), bytes_of(""), signature);
        assert_string_equal(signature, expected);
    }
    kernel_wire_destroy(wire);
}

static void test_vectors(void **state) {
    (void)state;
    expect_signature("Jefe", "what do ya want ", "for nothing?",
                     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    char long_key[132];
    memset(long_key, 0xAA, 131); /* longer than a block: hashed first */
    long_key[131] = '\0';
    expect_signature(long_key, "Test Using Larger Than Block-Size Key - ", "Hash Key First",
                     "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

struct parts {
    struct bytes items[KERNEL_WIRE_PARTS_MAX + 8];
    size_t count;
    char signature[KERNEL_WIRE_SIGNATURE_SIZE];
};

static const char key[] = "secret";

static void add(struct parts *parts, const char *text) {
    parts->items[parts->count++] = bytes_of(text);
}

/* idents topics, then a signed message with some buffers. */
static void make(struct parts *parts, size_t idents, size_t buffers) {
    static const char *const json[] = {"{\"msg_id\":\"1\"}", "{}", " {} ", "{\"a\":1}"};
    struct kernel_wire *wire = kernel_wire_create(key);
    kernel_wire_sign(wire, bytes_of(json[0]), bytes_of(json[1]), bytes_of(json[2]),
                     bytes_of(json[3]), parts->signature);
    kernel_wire_destroy(wire);
    parts->count = 0;
    for (size_t i = 0; i < idents; i++)
        add(parts, "topic");
    add(parts, kernel_wire_delimiter);
    add(parts, parts->signature);
    for (size_t i = 0; i < 4; i++)
        add(parts, json[i]);
    for (size_t i = 0; i < buffers; i++)
        add(parts, "buffer");
}

static enum wire_result parse(const struct parts *parts, struct wire_message *ret) {
    struct kernel_wire *wire = kernel_wire_create(key);
    enum wire_result result = kernel_wire_parse(wire, parts->items, parts->count, ret);
    kernel_wire_destroy(wire);
    return result;
}

static void test_parse(void **state) {
    (void)state;
    struct wire_message message;
    static struct parts parts;
    for (size_t idents = 0; idents <= KERNEL_WIRE_IDENTS_MAX; idents++) {
        make(&parts, idents, idents);
        assert_int_equal(parse(&parts, &message), WIRE_OK);
        assert_int_equal(message.buffer_count, idents);
        assert_memory_equal(message.content.data, "{\"a\":1}", message.content.length);
        if (idents > 0)
            assert_memory_equal(message.buffers[idents - 1].data, "buffer", 6);
    }
}

static void test_limits(void **state) {
    (void)state;
    struct wire_message message;
    static struct parts parts;
    make(&parts, KERNEL_WIRE_IDENTS_MAX + 1, 0);
    assert_int_equal(parse(&parts, &message), WIRE_MALFORMED);
    size_t most = KERNEL_MESSAGE_PARTS_MAX - 1 - 4;
    make(&parts, 0, most);
    assert_int_equal(parse(&parts, &message), WIRE_OK);
    make(&parts, 0, most + 1);
    assert_int_equal(parse(&parts, &message), WIRE_MALFORMED);
}

static void test_missing_parts(void **state) {
    (void)state;
    struct wire_message message;
    static struct parts parts;
    make(&parts, 1, 0);
    for (size_t count = 0; count < 7; count++) {
        parts.count = count;
        assert_int_equal(parse(&parts, &message), WIRE_MALFORMED);
    }
}

static void test_bad_signature(void **state) {
    (void)state;
    struct wire_message message;
    static struct parts parts;
    make(&parts, 0, 0);
    for (size_t i = 2; i < 6; i++) { /* any signed part that changed */
        struct bytes kept = parts.items[i];
        parts.items[i] = bytes_of("{\"x\":2}");
        assert_int_equal(parse(&parts, &message), WIRE_BAD_SIGNATURE);
        parts.items[i] = kept;
    }
    parts.signature[63] = parts.signature[63] == '0' ? '1' : '0';
    assert_int_equal(parse(&parts, &message), WIRE_BAD_SIGNATURE);
    parts.items[1].length = 63;
    assert_int_equal(parse(&parts, &message), WIRE_BAD_SIGNATURE);
    parts.items[1] = bytes_of("");
    assert_int_equal(parse(&parts, &message), WIRE_BAD_SIGNATURE);
}

static void test_no_object(void **state) {
    (void)state;
    static const char *const wrong[] = {"", "{", "}", "[]", "{} x", "null", "\"{}\""};
    struct wire_message message;
    static struct parts parts;
    struct kernel_wire *wire = kernel_wire_create(key);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        make(&parts, 0, 0);
        parts.items[5] = bytes_of(wrong[i]);
        kernel_wire_sign(wire, parts.items[2], parts.items[3], parts.items[4], parts.items[5],
                         parts.signature);
        assert_int_equal(parse(&parts, &message), WIRE_MALFORMED);
    }
    kernel_wire_destroy(wire);
}

static void test_empty_key(void **state) {
    (void)state;
    struct wire_message message;
    static struct parts parts;
    char signature[KERNEL_WIRE_SIGNATURE_SIZE] = "x";
    struct kernel_wire *wire = kernel_wire_create("");
    kernel_wire_sign(wire, bytes_of("{}"), bytes_of("{}"), bytes_of("{}"), bytes_of("{}"),
                     signature);
    assert_string_equal(signature, "");
    make(&parts, 0, 0);
    parts.items[1] = bytes_of("anything");
    assert_int_equal(kernel_wire_parse(wire, parts.items, parts.count, &message), WIRE_OK);
    kernel_wire_destroy(wire);
    kernel_wire_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),       cmocka_unit_test(test_parse),
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_missing_parts),
        cmocka_unit_test(test_bad_signature), cmocka_unit_test(test_no_object),
        cmocka_unit_test(test_empty_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
