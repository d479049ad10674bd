/* /api/sessions: for clients that talk to the gateway directly. One session a path and owner;
 * asking for a path again gives the session that it has, which is how a notebook finds its running
 * kernel. */
#include "base/memory.h"
#include "base/text.h"
#include "gateway/api.h"
#include "gateway/kernel_launch.h"
#include "gateway/session_adoption.h"
#include "gateway/sessions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { KERNEL_NAME_MAX = 255 };

/* What POST and PATCH may say; texts live as long as the request. */
struct wish {
    const char *path, *name, *type;
    const char *kernel_name, *kernel_id;
    const json_t *kernel_env;
};

static int read_kernel(const json_t *body, struct wish *ret, struct error *err) {
    const json_t *kernel = json_object_get(body, "kernel");
    if (kernel == NULL || json_is_null(kernel))
        return 0;
    if (!json_is_object(kernel))
        return error_set(err, ERROR_INVALID, "kernel: must be an object with 'name' or 'id'");
    if (api_take_text(kernel, "name", KERNEL_NAME_MAX, &ret->kernel_name, err) < 0 ||
        api_take_text(kernel, "id", API_ID_MAX, &ret->kernel_id, err) < 0)
        return error_wrap(err, "kernel");
    const json_t *env = json_object_get(kernel, "env");
    if (env != NULL && !json_is_null(env) && !json_is_object(env))
        return error_set(err, ERROR_INVALID, "kernel: env: must be an object of texts");
    ret->kernel_env = json_is_object(env) ? env : NULL;
    return 0;
}

/* A path is a name to us, of a file that need not be there. But a kernel may be started for it, now
 * or by a later PATCH, so none may lead out of the root directory. */
static int check_wish(const struct wish *wish, struct error *err) {
    if (wish->path != NULL && wish->path[0] == '\0')
        return error_set(err, ERROR_INVALID, "path: must not be empty");
    if (wish->type != NULL && wish->type[0] == '\0')
        return error_set(err, ERROR_INVALID, "type: must not be empty");
    return wish->path != NULL ? kernel_request_path(wish->path, err) : 0;
}

static int read_wish(struct http_request *request, struct wish *ret, struct error *err) {
    json_t *body = NULL;
    if (http_request_json(request, &body, err) < 0)
        return -1;
    if (body == NULL)
        return error_set(err, ERROR_INVALID, "No JSON data provided");
    if (!json_is_object(body))
        return error_set(err, ERROR_INVALID, "the body must be a JSON object");
    if (api_take_text(body, "path", SESSION_PATH_MAX, &ret->path, err) < 0 ||
        api_take_text(body, "name", SESSION_NAME_MAX, &ret->name, err) < 0 ||
        api_take_text(body, "type", SESSION_TYPE_MAX, &ret->type, err) < 0 ||
        read_kernel(body, ret, err) < 0)
        return -1;
    const json_t *notebook = json_object_get(body, "notebook"); /* the form before Notebook 5 */
    if (!json_is_object(notebook))
        return check_wish(ret, err);
    const char *path, *name;
    if (api_take_text(notebook, "path", SESSION_PATH_MAX, &path, err) < 0 ||
        api_take_text(notebook, "name", SESSION_NAME_MAX, &name, err) < 0)
        return error_wrap(err, "notebook");
    if (ret->path == NULL && path != NULL) {
        ret->path = path;
        ret->type = "notebook";
    }
    ret->name = ret->name != NULL ? ret->name : name;
    return check_wish(ret, err);
}

/* The session's kernel, or NULL when the client may not know of the session. */
static struct kernel *visible_kernel(const struct gateway *gateway,
                                     const struct http_request *request,
                                     const struct session *session) {
    const struct auth_identity *identity = http_request_identity(request);
    if (session == NULL || !auth_may_use(identity, session->owner))
        return NULL;
    struct kernel *kernel = kernels_find(gateway->kernels, session->kernel_id);
    bool is_visible = kernel != NULL && auth_may_use(identity, kernel_owner(kernel));
    return is_visible ? kernel : NULL;
}

static void reply_session(struct gateway *gateway, struct http_request *request, int status,
                          const struct session *session) {
    const struct kernel *kernel = kernels_find(gateway->kernels, session->kernel_id);
    json_t *model =
        kernel != NULL ? kernel_model(kernel, http_request_identity(request)) : json_null();
    http_reply_json(request, status, session_model(session, model));
}

static const struct session *find_session(struct gateway *gateway, struct http_request *request) {
    const char *id = http_request_param(request, "session_id");
    const struct session *session = sessions_find(gateway->sessions, id);
    if (visible_kernel(gateway, request, session) != NULL)
        return session;
    http_reply_error(request, 404, NULL, "Session not found: session_id=%.128s", id);
    return NULL;
}

static bool reply_not_ready(struct gateway *gateway, struct http_request *request) {
    if (session_adoption_is_done(gateway->session_adoption))
        return false;
    struct error err = {0};
    error_set(&err, ERROR_UNAVAILABLE,
              "The gateway has just started and is taking over the running sessions; try again");
    http_reply_failure(request, &err);
    return true;
}

static void list_sessions(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    if (!gateway->settings->list_kernels) {
        http_reply_error(request, 403, NULL, "Listing sessions is switched off (list-kernels)");
        return;
    }
    if (reply_not_ready(gateway, request))
        return;
    const struct auth_identity *identity = http_request_identity(request);
    json_t *list = json_array();
    const struct session *session = NULL;
    while ((session = sessions_next(gateway->sessions, session)) != NULL) {
        const struct kernel *kernel = visible_kernel(gateway, request, session);
        if (kernel != NULL)
            json_array_append_new(list, session_model(session, kernel_model(kernel, identity)));
    }
    http_reply_json(request, 200, list);
}

static void get_session(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    if (reply_not_ready(gateway, request))
        return;
    const struct session *session = find_session(gateway, request);
    if (session != NULL)
        reply_session(gateway, request, 200, session);
}

/* Leaves the session with its kernel, for the gateway after this one. */
static void record_session(struct gateway *gateway, const struct session *session) {
    struct kernel *kernel = kernels_find(gateway->kernels, session->kernel_id);
    if (kernel != NULL)
        kernel_set_session(kernel, session_record(session));
}

/* A kernel for the session: the client's own of that id, or a new one in the directory of its file.
 * That has an id of its own, as with jupyter_server: so a foreign kernel's id and one that never
 * was have the same answer. */
static int take_kernel(struct gateway *gateway, struct http_request *request,
                       const struct wish *wish, const struct session *session, struct kernel **ret,
                       struct error *err) {
    const struct auth_identity *identity = http_request_identity(request);
    struct kernel *known =
        wish->kernel_id != NULL ? kernels_find(gateway->kernels, wish->kernel_id) : NULL;
    if (known != NULL && auth_may_use(identity, kernel_owner(known))) {
        *ret = known;
        return 0;
    }
    const char *slash = strrchr(session->path, '/');
    size_t length = slash != NULL ? (size_t)(slash - session->path) : 0;
    char *directory = memory_strndup(session->path, length);
    json_t *record = session_record(session);
    struct kernel_request start = {
        .name = wish->kernel_name,
        .env = wish->kernel_env,
        .path = directory[0] != '\0' ? directory : NULL,
        .identity = identity,
        .session = record,
        .refuse_in_notebook = api_refuse_in_notebook(gateway, request),
    };
    int failed = kernels_start(gateway->kernels, &start, ret, err);
    json_decref(record);
    free(directory);
    return failed;
}

/* Before a kernel is started for one. */
static int check_room(struct gateway *gateway, const struct auth_identity *identity,
                      struct error *err) {
    int64_t max = gateway->settings->max_sessions_per_user;
    if (sessions_count(gateway->sessions) >= SESSIONS_MAX)
        return error_set(err, ERROR_UNAVAILABLE, "there are %d sessions already: delete some",
                         SESSIONS_MAX);
    if (max == 0 || !identity->verified ||
        sessions_count_of(gateway->sessions, identity->name) < (size_t)max)
        return 0;
    error_set(err, ERROR_BUSY,
              "%s has %" PRId64 " sessions, which is all that one user may have "
              "(max-sessions-per-user); delete some",
              identity->name, max);
    err->cause = "max-sessions-per-user";
    return -1;
}

static int create_session(struct gateway *gateway, struct http_request *request,
                          const struct wish *wish, const struct session **ret, struct error *err) {
    if (check_room(gateway, http_request_identity(request), err) < 0)
        return -1;
    char id[37];
    text_uuid4(id);
    const char *slash = strrchr(wish->path, '/');
    struct session fresh = {
        .id = id,
        .path = wish->path,
        .name = wish->name != NULL ? wish->name
                : slash != NULL    ? slash + 1
                                   : wish->path,
        .type = wish->type,
        .owner = http_request_identity(request)->name,
    };
    struct kernel *kernel;
    if (take_kernel(gateway, request, wish, &fresh, &kernel, err) < 0)
        return -1;
    fresh.kernel_id = kernel_id(kernel);
    if (sessions_add(gateway->sessions, &fresh, ret, err) < 0)
        return -1;
    record_session(gateway, *ret);
    return 0;
}

static void reply_created(struct gateway *gateway, struct http_request *request,
                          const struct session *session) {
    char *location = memory_printf("%sapi/sessions/%s", http_base_url(request), session->id);
    http_reply_header(request, "Location", location);
    free(location);
    reply_session(gateway, request, 201, session);
}

static void reply_unknown(struct http_request *request, const char *id) {
    http_reply_error(request, 404, NULL, "Session not found: session_id=%s", id);
}

static void on_recorded(void *context, const struct error *err) {
    struct api_pending pending = api_pending_take(context);
    const struct session *session = sessions_find(pending.gateway->sessions, pending.id);
    if (err != NULL)
        http_reply_failure(pending.request, err);
    else if (session == NULL)
        reply_unknown(pending.request, pending.id);
    else
        reply_created(pending.gateway, pending.request, session);
}

static void post_session(struct gateway *gateway, struct http_request *request) {
    struct error err = {0};
    struct wish wish = {0};
    const struct session *session = NULL;
    int failed = read_wish(request, &wish, &err);
    if (failed == 0 && wish.path == NULL)
        failed = error_set(&err, ERROR_INVALID, "Missing field in JSON data: path");
    if (failed == 0 && wish.type == NULL)
        failed = error_set(&err, ERROR_INVALID, "Missing field in JSON data: type");
    bool is_pending = false;
    if (failed == 0 && wish.kernel_id != NULL)
        (void)api_look_for_kernel(gateway, request, wish.kernel_id, &is_pending);
    if (is_pending)
        return;
    if (failed == 0)
        session =
            sessions_find_path(gateway->sessions, http_request_identity(request)->name, wish.path);
    if (failed == 0 && visible_kernel(gateway, request, session) == NULL) {
        if (session != NULL) /* its kernel is somebody else's by now */
            sessions_remove(gateway->sessions, session->id);
        failed = create_session(gateway, request, &wish, &session, &err);
    }
    if (failed < 0) {
        http_reply_failure(request, &err);
        return;
    }
    struct kernel *kernel = kernels_find(gateway->kernels, session->kernel_id);
    struct api_pending *pending = api_pending_create(gateway, request, session->id);
    if (kernel == NULL || !kernel_await_record(kernel, on_recorded, pending))
        on_recorded(pending, NULL);
}

/* A POST is never repeated by clients, so it waits for what the earlier gateway knew instead of
 * being told to come back. */
struct held_post {
    struct session_waiter waiter;
    struct gateway *gateway;
    struct http_request *request;
};

static void on_sessions_ready(void *context) {
    struct held_post *held = context;
    post_session(held->gateway, held->request);
    free(held);
}

static void start_session(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    struct held_post *held = memory_alloc(sizeof *held);
    held->waiter.ready = on_sessions_ready;
    held->waiter.context = held;
    held->gateway = gateway;
    held->request = request;
    session_adoption_wait(gateway->session_adoption, &held->waiter);
}

static bool is_kernel_in_use(struct gateway *gateway, const char *kernel_id) {
    const struct session *session = NULL;
    while ((session = sessions_next(gateway->sessions, session)) != NULL)
        if (strcmp(session->kernel_id, kernel_id) == 0)
            return true;
    return false;
}

static void on_replaced(void *context, const struct error *err) {
    (void)err; /* the new kernel is what the client asked for */
    struct api_pending pending = api_pending_take(context);
    const struct session *session = sessions_find(pending.gateway->sessions, pending.id);
    if (session != NULL)
        reply_session(pending.gateway, pending.request, 200, session);
    else
        reply_unknown(pending.request, pending.id);
}

/* Ends the kernel that a session had before it got another, then answers. */
static void reply_changed(struct gateway *gateway, struct http_request *request,
                          const struct session *session, const char *before) {
    struct kernel *kernel = kernels_find(gateway->kernels, before);
    if (kernel == NULL || is_kernel_in_use(gateway, before)) {
        reply_session(gateway, request, 200, session);
        return;
    }
    kernel_set_session(kernel, NULL);
    kernel_shutdown(kernel, "its notebook was given another kernel", on_replaced,
                    api_pending_create(gateway, request, session->id));
}

/* The kernel that PATCH asks for; *ret NULL when it asks for none. The id goes before the name, as
 * with jupyter_server. */
static int change_kernel(struct gateway *gateway, struct http_request *request,
                         const struct wish *wish, const struct session *session,
                         struct kernel **ret, struct error *err) {
    *ret = NULL;
    if (wish->kernel_id == NULL && wish->kernel_name == NULL)
        return 0;
    struct session as_wished = *session;
    as_wished.path = wish->path != NULL ? wish->path : session->path;
    if (wish->kernel_id == NULL)
        return take_kernel(gateway, request, wish, &as_wished, ret, err);
    struct kernel *kernel = kernels_find(gateway->kernels, wish->kernel_id);
    if (kernel == NULL || !auth_may_use(http_request_identity(request), kernel_owner(kernel)))
        return error_set(err, ERROR_INVALID, "No such kernel: %s", wish->kernel_id);
    *ret = kernel;
    return 0;
}

static int check_change(struct gateway *gateway, const struct wish *wish,
                        const struct session *session, struct error *err) {
    if (wish->path == NULL)
        return 0;
    const struct session *other = sessions_find_path(gateway->sessions, session->owner, wish->path);
    if (other != NULL && other != session) /* before a kernel is started for it */
        return error_set(err, ERROR_EXISTS, "path: '%.200s' has a session already: %s", wish->path,
                         other->id);
    return 0;
}

static void change_session(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    if (reply_not_ready(gateway, request))
        return;
    const struct session *session = find_session(gateway, request);
    if (session == NULL)
        return;
    struct error err = {0};
    struct wish wish = {0};
    struct kernel *kernel = NULL;
    char before[API_ID_MAX + 1];
    snprintf(before, sizeof before, "%s", session->kernel_id);
    int failed = read_wish(request, &wish, &err);
    if (failed == 0)
        failed = check_change(gateway, &wish, session, &err);
    if (failed == 0)
        failed = change_kernel(gateway, request, &wish, session, &kernel, &err);
    struct session change = {
        .path = wish.path,
        .name = wish.name,
        .type = wish.type,
        .kernel_id = kernel != NULL ? kernel_id(kernel) : NULL,
    };
    if (failed == 0)
        failed = sessions_change(gateway->sessions, session->id, &change, &session, &err);
    if (failed < 0) {
        http_reply_failure(request, &err);
        return;
    }
    record_session(gateway, session);
    reply_changed(gateway, request, session, before);
}

static void on_ended(void *context, const struct error *err) {
    struct api_pending pending = api_pending_take(context);
    if (err != NULL) {
        http_reply_failure(pending.request, err);
    } else {
        sessions_remove(pending.gateway->sessions, pending.id);
        http_reply_empty(pending.request, 204);
    }
}

static void delete_session(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    if (reply_not_ready(gateway, request))
        return;
    const char *id = http_request_param(request, "session_id");
    if (sessions_lost_kernel(gateway->sessions, id)) {
        http_reply_error(request, 410, NULL, "Kernel deleted before session");
        return;
    }
    const struct session *session = find_session(gateway, request);
    if (session == NULL)
        return;
    kernel_shutdown(kernels_find(gateway->kernels, session->kernel_id), NULL, on_ended,
                    api_pending_create(gateway, request, session->id));
}

const struct http_route api_sessions_routes[] = {
    {"GET", "/api/sessions", list_sessions, 0},
    {"POST", "/api/sessions", start_session, 0},
    {"GET", "/api/sessions/{session_id}", get_session, 0},
    {"PATCH", "/api/sessions/{session_id}", change_session, 0},
    {"DELETE", "/api/sessions/{session_id}", delete_session, 0},
    {NULL, NULL, NULL, 0},
};
