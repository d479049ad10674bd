#include "gateway/admin_kube.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "gateway/gateway.h"
#include "gateway/settings.h"

struct answer {
    bool is_there;
    int status;
    json_t *body;
    struct error *err;
};

static void on_answer(void *context, int status, json_t *body, const struct error *err) {
    struct answer *answer = context;
    answer->is_there = true;
    answer->status = status;
    if (err != NULL)
        *answer->err = *err;
    else
        answer->body = json_incref(body);
}

int admin_kube_open(struct admin_kube *ret, const struct settings *settings, struct error *err) {
    *ret = (struct admin_kube){.loop = event_base_new()};
    if (gateway_kube_config(settings, &ret->config, err) < 0)
        return -1;
    const char *said = text_or_null(settings->kubernetes.gateway_namespace);
    ret->namespace = said != NULL ? said : kube_config_namespace(ret->config);
    return kube_client_create(ret->loop, ret->config, NULL, &ret->client, err);
}

void admin_kube_close(struct admin_kube *kube) {
    kube_client_destroy(kube->client);
    kube_config_destroy(kube->config);
    event_base_free(kube->loop);
}

int admin_kube_call(struct admin_kube *kube, const char *method, const char *path,
                    const json_t *body, int *status, json_t **ret, struct error *err) {
    struct answer answer = {.err = err};
    const struct kube_call call = {.method = method,
                                   .path = path,
                                   .body = body,
                                   .once = kube->is_once,
                                   .is_of_purge = kube->is_of_purge,
                                   .deadline_ms = kube->deadline_ms};
    *err = (struct error){0};
    kube_client_call(kube->client, &call, on_answer, &answer);
    while (!answer.is_there)
        event_base_loop(kube->loop, EVLOOP_ONCE);
    if (status != NULL)
        *status = answer.status;
    *ret = answer.body;
    return err->code == ERROR_NONE ? 0 : -1;
}

int admin_kube_list(struct admin_kube *kube, const char *path, const char *selector,
                    const char *value, int *status, json_t **ret, struct error *err) {
    cleanup_buffer struct buffer query = {.limit = 4096};
    *ret = NULL;
    if (buffer_append_text(&query, path) < 0 || kube_path_add_query(&query, selector, value) < 0)
        return error_set(err, ERROR_INVALID, "%s: too long", value);
    return admin_kube_call(kube, "GET", buffer_text(&query), NULL, status, ret, err);
}
