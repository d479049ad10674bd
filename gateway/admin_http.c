/* One request at a time to a running gateway, with libcurl. */
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "gateway/admin_http_internal.h"
#include "gateway/http.h"

#include <string.h>
#include <unistd.h>

enum { ANSWER_MAX = 64 << 20, TOKEN_FILE_MAX = 8192 };

static size_t take_answer(char *data, size_t size, size_t count, void *context) {
    struct admin_gateway *gateway = context;
    return buffer_append(&gateway->answer, data, size * count) < 0 ? 0 : size * count;
}

static int read_token(struct admin_gateway *gateway, struct error *err) {
    const char *path = gateway->settings.token_file;
    if (path == NULL)
        return 0;
    cleanup_buffer struct buffer text = {.limit = TOKEN_FILE_MAX + 1};
    if (file_read(path, TOKEN_FILE_MAX, &text, err) < 0)
        return error_wrap(err, "--token-file");
    const char *start = buffer_text(&text);
    start += strspn(start, " \t\r\n");
    size_t length = strcspn(start, " \t\r\n");
    if (length == 0 || start[length + strspn(start + length, " \t\r\n")] != '\0' ||
        strlen(buffer_text(&text)) != text.length)
        return error_set(
            err, ERROR_INVALID,
            "--token-file: %s must hold the token and nothing else (it is not the gateway's "
            "file of hashed tokens)",
            path);
    free(gateway->settings.token);
    gateway->settings.token = memory_strndup(start, length);
    return 0;
}

static int add_headers(struct admin_gateway *gateway, struct error *err) {
    const char *token = gateway->settings.token;
    gateway->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (token == NULL || *token == '\0')
        return 0;
    if (strpbrk(token, "\r\n") != NULL)
        return error_set(err, ERROR_INVALID, "the token holds a line break");
    cleanup_free char *header = memory_printf("Authorization: token %s", token);
    gateway->headers = curl_slist_append(gateway->headers, header);
    return 0;
}

void admin_gateway_configure(const struct admin_gateway *gateway, CURL *curl) {
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    if (gateway->settings.ca_file != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, gateway->settings.ca_file);
}

static void set_up_curl(struct admin_gateway *gateway) {
    CURL *curl = gateway->curl;
    admin_gateway_configure(gateway, curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, gateway->curl_error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, gateway);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, gateway->headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)gateway->settings.timeout_ms);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "elara/" ELARA_VERSION);
}

int admin_gateway_create(int argc, char **argv, struct admin_gateway **ret, struct error *err) {
    struct admin_gateway *gateway = memory_alloc(sizeof *gateway);
    gateway->answer.limit = ANSWER_MAX;
    struct option_input input = {.argc = argc, .argv = argv, .environment = environ};
    if (option_load(admin_settings_table(), &input, &gateway->settings, NULL, err) < 0 ||
        read_token(gateway, err) < 0 || add_headers(gateway, err) < 0) {
        admin_gateway_destroy(gateway);
        return -1;
    }
    gateway->curl = curl_easy_init();
    if (gateway->curl == NULL) {
        admin_gateway_destroy(gateway);
        return error_set(err, ERROR_SYSTEM, "libcurl cannot be set up");
    }
    set_up_curl(gateway);
    *ret = gateway;
    return 0;
}

void admin_gateway_destroy(struct admin_gateway *gateway) {
    if (gateway == NULL)
        return;
    curl_easy_cleanup(gateway->curl);
    curl_slist_free_all(gateway->headers);
    buffer_free(&gateway->answer);
    option_free(admin_settings_table(), &gateway->settings);
    free(gateway);
}

/* {"reason", "message"} as one sentence. A reason that only repeats the status says nothing. */
static int refusal(long status, const json_t *answer, struct error *err) {
    const char *reason = json_string_value(json_object_get(answer, "reason"));
    const char *message = json_string_value(json_object_get(answer, "message"));
    if (reason != NULL && strcmp(reason, http_status_phrase((int)status)) == 0)
        reason = NULL;
    const char *text = message != NULL && *message != '\0' ? message : reason;
    if (status == 401)
        return error_set(
            err, ERROR_DENIED,
            "the gateway does not know this token; give it with --token-file FILE or ELARA_TOKEN");
    enum error_code code = status == 404   ? ERROR_NOT_FOUND
                           : status == 403 ? ERROR_DENIED
                           : status >= 500 ? ERROR_UNAVAILABLE
                                           : ERROR_SYSTEM;
    return error_set(err, code, "the gateway answers %ld: %s%s%s", status,
                     text != NULL ? text : "without a word",
                     text == message && reason != NULL ? " - " : "",
                     text == message && reason != NULL ? reason : "");
}

/* The answer's text is in gateway->answer. */
static int perform(struct admin_gateway *gateway, const char *method, const char *path,
                   const json_t *body, struct error *err) {
    const char *base = gateway->settings.url;
    bool has_slash = *base != '\0' && base[strlen(base) - 1] == '/';
    cleanup_free char *url = memory_printf("%s%s%s", base, has_slash ? "" : "/", path);
    buffer_clear(&gateway->answer);
    curl_easy_setopt(gateway->curl, CURLOPT_URL, url);
    cleanup_free char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : memory_strdup("{}");
    if (strcmp(method, "POST") == 0)
        curl_easy_setopt(gateway->curl, CURLOPT_POSTFIELDS, text);
    else
        curl_easy_setopt(gateway->curl, CURLOPT_HTTPGET, 1L); /* forgets an earlier body */
    curl_easy_setopt(gateway->curl, CURLOPT_CUSTOMREQUEST, method);
    CURLcode failed = curl_easy_perform(gateway->curl);
    if (failed != CURLE_OK)
        return error_set(
            err, ERROR_UNAVAILABLE, "%s: %s; is the gateway running, and --url its address?", base,
            *gateway->curl_error != '\0' ? gateway->curl_error : curl_easy_strerror(failed));
    long status = 0;
    curl_easy_getinfo(gateway->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status <= 299)
        return 0;
    cleanup_json json_t *answer =
        json_loadb(buffer_text(&gateway->answer), gateway->answer.length, 0, NULL);
    return refusal(status, answer, err);
}

int admin_gateway_call(struct admin_gateway *gateway, const char *method, const char *path,
                       const json_t *body, json_t **ret, struct error *err) {
    if (perform(gateway, method, path, body, err) < 0)
        return -1;
    if (ret != NULL)
        *ret = gateway->answer.length > 0
                   ? json_loadb(buffer_text(&gateway->answer), gateway->answer.length, 0, NULL)
                   : NULL;
    return 0;
}

const char *admin_gateway_header(const struct admin_gateway *gateway, const char *name) {
    struct curl_header *header;
    return curl_easy_header(gateway->curl, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK
               ? header->value
               : NULL;
}

int admin_ask(int argc, char **argv, const char *method, const char *path, const json_t *body,
              json_type type, json_t **ret, struct error *err) {
    struct admin_gateway *gateway = NULL;
    cleanup_json json_t *answer = NULL;
    if (admin_gateway_create(argc, argv, &gateway, err) < 0)
        return -1;
    int failed = admin_gateway_call(gateway, method, path, body, &answer, err);
    admin_gateway_destroy(gateway);
    if (failed < 0)
        return -1;
    if (answer == NULL || json_typeof(answer) != type)
        return error_set(err, ERROR_SYSTEM, "the answer is no %s; is --url a gateway's?",
                         type == JSON_ARRAY ? "list" : "status");
    *ret = steal(&answer);
    return 0;
}

int admin_gateway_read(struct admin_gateway *gateway, const char *path, const char **ret,
                       size_t *length, struct error *err) {
    if (perform(gateway, "GET", path, NULL, err) < 0)
        return -1;
    *ret = buffer_text(&gateway->answer);
    *length = gateway->answer.length;
    return 0;
}
