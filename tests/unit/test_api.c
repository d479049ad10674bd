/* The description of the routes, and YAML for it. */
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/yaml.h"
#include "gateway/api.h"
#include "gateway/yaml_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct http_route *const tables[] = {
    api_root_routes,     api_health_routes,  api_kernels_routes, api_kernelspecs_routes,
    api_sessions_routes, api_journal_routes, api_culling_routes, api_shares_routes,
    api_elara_routes,    api_metrics_routes,
};

static void test_every_route_is_described(void **state) {
    (void)state;
    cleanup_json json_t *document = api_swagger("/");
    assert_non_null(document);
    const json_t *paths = json_object_get(document, "paths");
    size_t routes = 0, described = 0;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        for (const struct http_route *route = tables[i]; route->method != NULL; route++, routes++) {
            char method[16] = {0};
            for (size_t at = 0; route->method[at] != '\0'; at++)
                method[at] = (char)(route->method[at] | 0x20);
            char path[128];
            const char *dots = strstr(route->pattern, "...}");
            int length = dots != NULL ? (int)(dots - route->pattern) : (int)strlen(route->pattern);
            snprintf(path, sizeof path, "%.*s%s", length, route->pattern,
                     dots != NULL ? dots + 3 : "");
            const json_t *operation = json_object_get(json_object_get(paths, path), method);
            if (json_object_get(operation, "summary") == NULL)
                fail_msg("%s %s has no description", route->method, route->pattern);
        }
    const char *name;
    json_t *operations;
    json_object_foreach((json_t *)(uintptr_t)paths, name, operations) {
        described += json_object_size(operations);
    }
    assert_int_equal(described, routes); /* and nothing that is not served */
}

static void test_references_lead_somewhere(void **state) {
    (void)state;
    cleanup_json json_t *document = api_swagger("/gateway/");
    assert_string_equal(json_string_value(json_object_get(document, "basePath")), "/gateway");
    const json_t *definitions = json_object_get(document, "definitions");
    assert_true(json_object_size(definitions) > 5);
    cleanup_free char *text = json_dumps(document, 0);
    static const char mark[] = "#/definitions/";
    for (const char *at = strstr(text, mark); at != NULL; at = strstr(at + 1, mark)) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at + sizeof mark - 1, "\""),
                 at + sizeof mark - 1);
        if (json_object_get(definitions, name) == NULL)
            fail_msg("%s is not defined", name);
    }
}

static void test_yaml_says_the_same(void **state) {
    (void)state;
    cleanup_json json_t *document = api_swagger("/");
    cleanup_buffer struct buffer text = {0};
    yaml_write(document, &text);
    cleanup_json json_t *read = NULL;
    struct error err = {0};
    if (yaml_parse(buffer_text(&text), text.length, &read, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(json_equal(read, document));
}

static void test_yaml_of_awkward_values(void **state) {
    (void)state;
    cleanup_json json_t *tree =
        json_loads("{\"a: b\": \"no\\n\\\"#\", \"e\": [], \"o\": {}, \"n\": null, \"l\": [[1, 2], "
                   "[], {\"x\": -1.5}], \"t\": true}",
                   0, NULL);
    cleanup_buffer struct buffer text = {0};
    yaml_write(tree, &text);
    cleanup_json json_t *read = NULL;
    struct error err = {0};
    if (yaml_parse(buffer_text(&text), text.length, &read, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(json_equal(read, tree));
}

static void test_texts_of_a_body(void **state) {
    (void)state;
    cleanup_json json_t *body =
        json_loads("{\"text\": \"abc\", \"null\": null, \"number\": 1}", 0, NULL);
    const char *text = "untouched";
    struct error err = {0};
    assert_int_equal(api_take_text(body, "missing", 3, &text, &err), 0);
    assert_null(text);
    assert_int_equal(api_take_text(body, "null", 3, &text, &err), 0);
    assert_null(text);
    assert_int_equal(api_take_text(body, "text", 3, &text, &err), 0);
    assert_string_equal(text, "abc");
    assert_int_equal(api_take_text(body, "text", 2, &text, &err), -1);
    assert_string_equal(err.text, "text: is longer than 2 bytes");
    assert_int_equal(api_take_text(body, "number", 3, &text, &err), -1);
    assert_int_equal(err.code, ERROR_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_route_is_described),
        cmocka_unit_test(test_references_lead_somewhere),
        cmocka_unit_test(test_yaml_says_the_same),
        cmocka_unit_test(test_yaml_of_awkward_values),
        cmocka_unit_test(test_texts_of_a_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
