#include "gateway/web_client.h"

#include "base/buffer.h"
#include "base/list.h"
#include "base/memory.h"
#include "launcher/curl_loop.h"

#include <stdlib.h>
#include <string.h>

enum { ANSWER_MAX = 1 << 20, CONNECTIONS_KEPT = 8 };

struct web_client {
    struct curl_loop *loop;
    char *ca;
    struct list requests;
};

struct web_request {
    struct web_client *client;
    struct list_node node;
    CURL *easy;
    struct curl_slist *headers;
    struct buffer answer;
    char *url;
    char detail[CURL_ERROR_SIZE];
    bool is_too_large;
    web_done *done;
    void *context;
};

static void free_request(struct web_request *request) {
    list_remove(&request->node);
    curl_easy_cleanup(request->easy);
    for (struct curl_slist *header = request->headers; header != NULL; header = header->next)
        explicit_bzero(header->data, strlen(header->data)); /* one has the token */
    curl_slist_free_all(request->headers);
    buffer_free(&request->answer);
    free(request->url);
    free(request);
}

static void on_finished(void *context, CURL *easy, CURLcode code) {
    (void)context;
    struct web_request *request = NULL;
    long status = 0;
    struct error err = {0};
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &request);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    json_t *answer = NULL;
    if (request->is_too_large)
        error_set(&err, ERROR_UNAVAILABLE, "%.200s: the answer is larger than %d bytes",
                  request->url, ANSWER_MAX);
    else if (code != CURLE_OK)
        error_set(&err, ERROR_UNAVAILABLE, "%.200s: %.200s", request->url,
                  request->detail[0] != '\0' ? request->detail : curl_easy_strerror(code));
    else
        answer = json_loadb((const char *)request->answer.data, request->answer.length, 0, NULL);
    web_done *done = request->done;
    void *user = request->context;
    free_request(request);
    done(user, (int)status, answer, code != CURLE_OK ? &err : NULL);
    json_decref(answer);
}

int web_client_create(struct event_base *loop, const char *ca, struct web_client **ret,
                      struct error *err) {
    static const struct curl_loop_events events = {.finished = on_finished};
    struct web_client *client = memory_alloc(sizeof *client);
    client->loop = curl_loop_create(loop, CONNECTIONS_KEPT, &events, client);
    if (client->loop == NULL) {
        free(client);
        return error_set(err, ERROR_SYSTEM, "libcurl does not start");
    }
    client->ca = ca != NULL ? memory_strdup(ca) : NULL;
    list_init(&client->requests);
    *ret = client;
    return 0;
}

void web_client_destroy(struct web_client *client) {
    if (client == NULL)
        return;
    list_each (&client->requests, struct web_request, node, request) {
        curl_loop_remove(client->loop, request->easy);
        free_request(request);
    }
    curl_loop_destroy(client->loop);
    free(client->ca);
    free(client);
}

static size_t take_body(char *data, size_t one, size_t length, void *context) {
    (void)one;
    struct web_request *request = context;
    request->is_too_large = buffer_append(&request->answer, data, length) < 0;
    return request->is_too_large ? 0 : length;
}

static void add_header(struct web_request *request, const char *name, const char *value) {
    char *line = memory_printf("%s: %s", name, value);
    request->headers = curl_slist_append(request->headers, line);
    explicit_bzero(line, strlen(line));
    free(line);
}

void web_client_get(struct web_client *client, const char *url, const char *authorization,
                    int64_t timeout_ms, web_done *done, void *context) {
    struct web_request *request = memory_alloc(sizeof *request);
    CURL *easy = request->easy = curl_easy_init();
    request->client = client;
    request->answer.limit = ANSWER_MAX;
    request->url = memory_strdup(url);
    request->done = done;
    request->context = context;
    list_append(&client->requests, &request->node);
    add_header(request, "Accept", "application/json");
    if (authorization != NULL)
        add_header(request, "Authorization", authorization);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* else the end waits for a slow DNS server */
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "elara/" ELARA_VERSION);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->detail);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
    if (client->ca != NULL) { /* that one alone, not the system's beside it */
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(easy, CURLOPT_CAINFO, client->ca);
    }
    curl_loop_add(client->loop, easy);
}
