/* Texts from outside stay texts, on any page. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "gateway/html.h"
#include "gateway/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_values_are_escaped(void **state) {
    (void)state;
    static const struct {
        const char *value, *expected;
    } cases[] = {
        {"", ""},
        {"plain, ü and 漢字", "plain, ü and 漢字"},
        {"<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"},
        {"\" onclick='x' &amp;", "&quot; onclick=&#39;x&#39; &amp;amp;"},
        {"{}%s\\", "{}%s\\"},
        {"a\tb\nc", "a\tb\nc"},
        {"a\x01\x1b\r\x7f", "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xff<\xc3<", "\xEF\xBF\xBD&lt;\xEF\xBF\xBD&lt;"}, /* a cut character hides nothing */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cleanup_buffer struct buffer out = {0};
        html_add(&out, "<a href=\"{}\">{}</a>", cases[i].value, "2");
        cleanup_free char *expected = memory_printf("<a href=\"%s\">2</a>", cases[i].expected);
        assert_string_equal(buffer_text(&out), expected);
    }
}

static void test_forms_without_values(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    html_add(&out, "<p>");
    html_add(&out, "{}{}", "1", "2");
    assert_string_equal(buffer_text(&out), "<p>12");
}

static void test_style_hash(void **state) {
    (void)state;
    char hash[HTML_STYLE_HASH_SIZE];
    html_style_hash(hash);
    assert_int_equal(strlen(hash), strlen("'sha256-'") + 44); /* 32 bytes in base64 */
}

static size_t count(const char *text, const char *part) {
    size_t found = 0;
    for (; (text = strstr(text, part)) != NULL; text++)
        found++;
    return found;
}

/* Every field that anybody outside decides about. */
static void test_page_of_hostile_kernels(void **state) {
    (void)state;
    static const char evil[] = "\"><script>evil()</script><b onclick='";
    cleanup_json json_t *kernels = json_pack(
        "[{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}]", "id", evil, "name", evil, "display_name",
        "Other\"><script>", "owner", evil, "execution_state", evil, "reason",
        "\"><script>\n</pre><script>", "rule", evil, "cull_in_ms", (json_int_t)1000);
    struct page_view view = {.user = evil,
                             .role = AUTH_ADMIN,
                             .problem = evil,
                             .done = evil,
                             .done_to = evil,
                             .kernels = kernels,
                             .total = 1};
    cleanup_buffer struct buffer out = {0};
    page_render(&view, &out);
    const char *html = buffer_text(&out);
    assert_int_equal(count(html, "<script"), 0);
    assert_int_equal(count(html, "<b onclick"), 0);
    assert_int_equal(count(html, "evil()"), count(html, "&lt;script&gt;evil()"));
    assert_true(count(html, "evil()") >= 9);
}

static void test_page_without_what_is_not_known(void **state) {
    (void)state;
    cleanup_json json_t *kernels =
        json_pack("[{s:s, s:I, s:I}]", "id", "1-1-1-1-1", "age_ms", (json_int_t)3660000,
                  "rss_bytes", (json_int_t)(2048L << 20));
    struct page_view view = {
        .kernels = kernels, .total = 1, .max_kernels = -1, .max_kernels_per_user = 5};
    cleanup_buffer struct buffer out = {0};
    page_render(&view, &out);
    const char *html = buffer_text(&out);
    assert_int_equal(count(html, "1 h 1 min"), 1);
    assert_int_equal(count(html, "2.0 GiB"), 1);
    assert_int_equal(count(html, ">–</td>"), 3); /* idle, next cull, CPU time */
    assert_int_equal(count(html, "Owner"), 0);
    assert_int_equal(count(html, "Limit of kernels"), 0);
    assert_int_equal(count(html, "Limit for each user"), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_escaped),
        cmocka_unit_test(test_forms_without_values),
        cmocka_unit_test(test_style_hash),
        cmocka_unit_test(test_page_of_hostile_kernels),
        cmocka_unit_test(test_page_without_what_is_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
