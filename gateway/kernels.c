#include "gateway/kernels.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/kernels_internal.h"
#include "launcher/launch.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#define LOG_AREA "gateway/kernels"
#define DAY_MS   (INT64_C(24) * 3600 * 1000)

extern char **environ;

/* One kernel's memory. */

struct kernel *kernel_create(struct kernels *kernels, const char *id) {
    struct kernel *kernel = memory_alloc(sizeof *kernel);
    kernel->kernels = kernels;
    snprintf(kernel->id, sizeof kernel->id, "%s", id);
    clock_format(clock_wall_us(), kernel->created);
    memcpy(kernel->last_activity, kernel->created, CLOCK_TEXT_SIZE);
    kernel->status.phase = KERNEL_LAUNCHING;
    kernel->status.execution_state = "starting";
    text_replace(&kernel->stage, "starting the kernel's launcher");
    kernel->status.stage = kernel->stage;
    list_init(&kernel->watchers);
    list_init(&kernel->told);
    list_init(&kernel->orders);
    list_init(&kernel->accept_waiters);
    list_init(&kernel->restart_waiters);
    list_init(&kernel->stop_waiters);
    list_init(&kernel->share_waiters);
    kernel_activity_init(&kernel->activity);
    kernel->own_idle_ms = -1;
    kernel->notify = (struct loop_task){.run = kernel_notify, .context = kernel};
    kernel->number = ++kernels->count;
    list_append(&kernels->all, &kernel->node);
    map_put(kernels->by_id, kernel->id, kernel);
    return kernel;
}

static void free_kernel(struct kernel *kernel) {
    loop_cancel(&kernel->notify);
    loop_deadline_clear(kernel->kernels->loop, &kernel->deadline);
    kernels_drop_waiters(&kernel->accept_waiters);
    kernels_drop_waiters(&kernel->restart_waiters);
    kernels_drop_waiters(&kernel->stop_waiters);
    kernels_drop_waiters(&kernel->share_waiters);
    kernel_drop_askers(kernel);
    free(kernel->owner);
    free(kernel->user);
    free(kernel->name);
    free(kernel->display_name);
    json_decref(kernel->request);
    json_decref(kernel->session);
    json_decref(kernel->shares);
    json_decref(kernel->held);
    json_decref(kernel->orphans);
    json_decref(kernel->bequest);
    free(kernel->stage);
    free(kernel->doubt);
    free(kernel->reason);
    free(kernel->lost);
    free(kernel->lost_cause);
    free(kernel->reason_cause);
    free(kernel->message_session);
    free(kernel->last_words);
    free(kernel->stop_reason);
    free(kernel->notice);
    json_decref(kernel->inherited);
    free(kernel->endpoint);
    free(kernel);
}

/* Watchers hear of KERNEL_GONE first: their task was posted before this one. */
static void on_reap(void *context) {
    struct kernels *kernels = context;
    list_each (&kernels->ended, struct kernel, node, kernel) {
        list_remove(&kernel->node);
        if (list_node_is_linked(&kernel->notify.node))
            kernel_notify(kernel);
        free_kernel(kernel);
    }
}

/* Its end. */

const char *kernels_tombstone(const struct kernels *kernels, const char *id,
                              const struct auth_identity *identity) {
    if (map_get(kernels->by_id, id) != NULL)
        return NULL; /* the id was taken again */
    return kernel_ends_reason(kernels->ends, id, identity,
                              kernels->settings.tombstone_retention_ms);
}

json_t *kernel_bequest(const struct kernel_heir *heir, const char *text) {
    return json_pack("{s:s, s:s, s:s, s:s}", "text", text, "user", heir->user, "spec", heir->spec,
                     "directory", heir->directory);
}

void kernel_leave_notice(struct kernel *kernel, const char *text) {
    struct kernel_heir heir = kernel_heir_of(kernel);
    kernel_ends_bequeath(kernel->kernels->ends, &heir, text, kernel->id);
    json_decref(kernel->bequest);
    kernel->bequest = kernel_bequest(&heir, text);
}

const char *kernel_inherited_text(const struct kernel *kernel) {
    return json_string_value(json_object_get(kernel->inherited, "text"));
}

void kernel_return_notice(struct kernel *kernel) {
    struct kernel_heir heir = kernel_heir_of(kernel);
    if (kernel->notice != NULL && !kernel->was_ready)
        kernel_ends_return(kernel->kernels->ends, &heir, kernel->inherited, kernel->id);
}

void kernel_forget(struct kernel *kernel, const char *reason, bool by_another) {
    struct kernels *kernels = kernel->kernels;
    if (!by_another) /* which has it, too */
        kernel_return_notice(kernel);
    struct error gone;
    error_set(&gone, ERROR_UNAVAILABLE, "The kernel was ended before it had begun");
    kernel_answer_all(kernels, &kernel->accept_waiters, &gone);
    kernel_answer_all(kernels, &kernel->share_waiters, &gone);
    kernel_adoption_settled(kernel);
    kernel_orders_orphan(kernel, false);
    kernel_forget_askers(kernel);
    map_remove(kernels->by_id, kernel->id);
    list_remove(&kernel->node);
    list_append(&kernels->ended, &kernel->node);
    loop_deadline_clear(kernels->loop, &kernel->deadline);
    if (!by_another) /* which has told it */
        kernel_observe_action(kernel, "shutdown", reason);
    kernel_ends_bury(kernels->ends, kernel->id, kernel->owner, reason ? reason : KERNEL_SHUT_DOWN,
                     by_another);
    loop_post(kernels->loop, &kernels->reap);
}

/* Starting one. */

int kernel_check_limits(const struct kernel *self, struct error *err) {
    const struct kernels *kernels = self->kernels;
    const struct kernels_settings *settings = &kernels->settings;
    int64_t all = 0, own = 0, same = 0;
    list_each (&kernels->all, struct kernel, node, kernel) {
        if (kernel == self || kernel->status.phase >= KERNEL_DEAD)
            continue;
        all++;
        own += kernel->user != NULL && self->user != NULL && strcmp(kernel->user, self->user) == 0;
        same += strcmp(kernel->name, self->name) == 0;
    }
    if (settings->max_kernels >= 0 && all >= settings->max_kernels)
        return error_set(err, ERROR_LIMIT,
                         "Resource Limit: %" PRId64 " kernels are running, which is all this "
                         "gateway may have (max-kernels). Shut one down, then start again",
                         all);
    if (settings->max_kernels_per_user >= 0 && own >= settings->max_kernels_per_user)
        return error_set(err, ERROR_LIMIT,
                         "Resource Limit: user '%.100s' has %" PRId64 " kernels, which is all one "
                         "user may have (max-kernels-per-user). Shut one down, then start again",
                         self->user, own);
    if (settings->max_kernels_per_spec >= 0 && same >= settings->max_kernels_per_spec)
        return error_set(err, ERROR_LIMIT,
                         "Resource Limit: %" PRId64 " kernels of kernel spec '%.100s' are running, "
                         "which is all that it may have (max-kernels-per-spec). Shut one down, or "
                         "start another kernel spec",
                         same, self->name);
    return 0;
}

static const char *request_text(const struct kernel *kernel, const char *member) {
    return json_string_value(json_object_get(kernel->request, member));
}

/* What the administrator's rules say about it; a refusal, not a mistake of the client's. *ret: the
 * client's variables that count. */
static int check_policy(const struct kernel *kernel, const struct kernelspec *spec, json_t **ret,
                        struct error *err) {
    const struct kernels_settings *settings = &kernel->kernels->settings;
    const json_t *env = json_object_get(kernel->request, "env");
    const char *verified = request_text(kernel, "verified");
    if (kernel_request_user(settings, spec, verified, env, err) < 0 ||
        kernel_request_provisioner(spec, kernel->kernels->provisioner->ops->is_elsewhere, err) <
            0 ||
        kernel_request_policy(settings, spec, kernel->owner, env, ret, err) < 0)
        return -1;
    return kernel_check_limits(kernel, err);
}

int kernel_provision(struct kernel *kernel, struct error *err) {
    struct kernels *kernels = kernel->kernels;
    const struct kernelspec *spec;
    cleanup_free char *directory = NULL;
    cleanup_json json_t *launch = NULL, *env = NULL;
    kernel_observe_start(kernel);
    struct kernel_plan plan = {.settings = &kernels->settings,
                               .kernel_id = kernel->id,
                               .env = json_object_get(kernel->request, "env"),
                               .username = request_text(kernel, "username"),
                               .environment = environ,
                               .is_elsewhere = kernels->provisioner->ops->is_elsewhere};
    const char *user = kernel_request_name(request_text(kernel, "verified"), plan.env);
    if (kernel_request_spec(&kernels->settings, kernels->specs, request_text(kernel, "name"), user,
                            &spec, err) < 0 ||
        check_policy(kernel, spec, &env, err) < 0 ||
        kernel_request_timeout(&kernels->settings, plan.env, &plan.launch_timeout_ms, err) < 0 ||
        (!plan.is_elsewhere &&
         kernel_request_directory(&kernels->settings, request_text(kernel, "path"), plan.env,
                                  &directory, err) < 0))
        return -1;
    plan.spec = spec;
    plan.env = env;
    if (plan.is_elsewhere) /* a client's patience does not end a start that was accepted */
        plan.launch_timeout_ms =
            kernels->settings.start_deadline_ms > 0 ? kernels->settings.start_deadline_ms : DAY_MS;
    plan.directory = plan.is_elsewhere ? kernel_request_directory_elsewhere(plan.env) : directory;
    if (kernel_launch_create(&plan, &launch, err) < 0)
        return -1;
    if (kernel->was_heard && kernel->activity.heard_ms == 0)
        kernel->activity.was_attached = true; /* who was there its launcher has not told us */
    cleanup_json json_t *record = kernel_record(kernel);
    kernel->is_spawned = true;
    kernel->start_wanted = false;
    const struct provision_order order = {.kernel_id = kernel->id,
                                          .launch = launch,
                                          .record = record,
                                          .spec = spec->json,
                                          .spec_directory = spec->directory};
    return kernels->provisioner->ops->start(kernels->provisioner, &order, &kernel_provision_events,
                                            kernel, &kernel->provision, err);
}

static int choose_id(const struct kernels *kernels, const struct kernel_request *request,
                     const json_t *env, char id[129], struct error *err) {
    const char *wish = request->kernel_id;
    const char *what = "kernel_id";
    if (wish == NULL) {
        wish = json_string_value(json_object_get(env, "KERNEL_ID"));
        what = "env: KERNEL_ID";
    }
    if (wish == NULL) {
        text_uuid4(id);
        return 0;
    }
    if (!text_is_kernel_id(wish))
        return error_set(err, ERROR_INVALID,
                         "%s must be five groups of letters, digits and _ joined by -, like a "
                         "UUID, at most 128 characters; not \"%.140s\"",
                         what, wish);
    if (map_get(kernels->by_id, wish) != NULL)
        return error_set(err, ERROR_EXISTS, "%s: there is a kernel %s already", what, wish);
    snprintf(id, 129, "%s", wish);
    return 0;
}

/* The name of a user with a token of his own; NULL for admins, and for the one user of a gateway
 * without named tokens. */
static const char *verified_user(const struct auth_identity *identity) {
    return identity->verified && identity->role == AUTH_USER ? identity->name : NULL;
}

/* Who is known need not say who he is, and cannot say to be somebody else. */
static int take_username(const char *verified, json_t *env, struct error *err) {
    const char *claimed = json_string_value(json_object_get(env, "KERNEL_USERNAME"));
    if (verified == NULL || claimed == NULL)
        return 0;
    if (*claimed != '\0' && strcmp(claimed, verified) != 0)
        return error_set(err, ERROR_DENIED,
                         "KERNEL_USERNAME: says %.100s, but the client is %.100s; leave it out",
                         claimed, verified);
    json_object_del(env, "KERNEL_USERNAME"); /* the kernel gets it in any case */
    return 0;
}

/* All that can be wrong with the client's own words; makes the request that the kernel is started
 * from, now or again. */
static int check_request(const struct kernels *kernels, const struct kernel_request *request,
                         const struct kernelspec **spec, json_t **ret, struct error *err) {
    const char *name =
        request->name && *request->name ? request->name : kernelspecs_default(kernels->specs);
    cleanup_json json_t *env = NULL;
    cleanup_free char *directory = NULL;
    int64_t timeout_ms, own_idle_ms;
    /* Then KERNEL_WORKING_DIR is no directory of ours: we do not touch what a client names. */
    bool is_elsewhere = kernels->provisioner->ops->is_elsewhere;
    const char *verified = verified_user(request->identity);
    if (kernel_request_env(&kernels->settings, request->env, &env, err) < 0 ||
        take_username(verified, env, err) < 0 ||
        kernel_request_timeout(&kernels->settings, env, &timeout_ms, err) < 0 ||
        kernel_request_own_idle(env, &own_idle_ms, err) < 0 ||
        kernel_request_directory(&kernels->settings, request->path, is_elsewhere ? NULL : env,
                                 &directory, err) < 0 ||
        kernel_request_spec(&kernels->settings, kernels->specs, name,
                            kernel_request_name(verified, env), spec, err) < 0)
        return -1;
    *ret = json_pack("{s:s, s:O, s:s?, s:s, s:s?}", "name", (*spec)->name, "env", env, "path",
                     request->path, "username", verified ? verified : kernels->user, "verified",
                     verified);
    if (*ret == NULL)
        return error_set(err, ERROR_INVALID, "path is not UTF-8");
    return 0;
}

/* Not a refusal that a notebook shows: whoever asks again in a second gets his kernel. */
static int check_starts(const struct kernels *kernels, const struct auth_identity *identity,
                        struct error *err) {
    int64_t max = kernels->settings.max_starts_per_user, own = 0;
    if (max == 0 || !identity->verified)
        return 0;
    list_each (&kernels->all, struct kernel, node, kernel)
        own +=
            kernel->status.phase <= KERNEL_STARTING && strcmp(kernel->owner, identity->name) == 0;
    if (own < max)
        return 0;
    error_set(err, ERROR_BUSY,
              "%" PRId64 " kernels of %s are starting, which is all that one user may have at once "
              "(max-starts-per-user); wait until some are there",
              own, identity->name);
    err->cause = "max-starts-per-user";
    return -1;
}

bool kernel_may_stand_in(const struct kernel *kernel, const struct error *err) {
    return err->code != ERROR_INVALID && err->code != ERROR_NOT_FOUND &&
           err->code != ERROR_EXISTS && kernels_may_keep_dead(kernel->kernels, kernel->user);
}

static void fill_kernel(struct kernel *kernel, const struct kernel_request *request,
                        const struct kernelspec *spec) {
    const struct auth_identity *identity = request->identity;
    const char *claimed = json_string_value(
        json_object_get(json_object_get(kernel->request, "env"), "KERNEL_USERNAME"));
    bool counts = claimed != NULL && verified_user(identity) == NULL;
    kernel_take_own_idle(kernel);
    text_replace(&kernel->owner, identity->name);
    text_replace(&kernel->user, counts ? claimed : identity->name);
    text_replace(&kernel->name, spec->name);
    text_replace(&kernel->display_name, spec->display_name);
    kernel->session = json_is_object(request->session) ? json_deep_copy(request->session) : NULL;
}

/* Takes back one that nobody heard of. */
static void unmake(struct kernel *kernel) {
    map_remove(kernel->kernels->by_id, kernel->id);
    list_remove(&kernel->node);
    free_kernel(kernel);
}

/* A record that no gateway reads would be a kernel without owner. */
static int check_record(const struct kernel *kernel, struct error *err) {
    cleanup_json json_t *record = kernel_record(kernel);
    size_t size = launch_record_size(record);
    if (size <= LAUNCH_RECORD_REQUEST_MAX)
        return 0;
    return error_set(err, ERROR_INVALID,
                     "env: its KERNEL_* and allowed variables (with name, path and session) make "
                     "%zu KiB, %d KiB may be; leave some out",
                     size >> 10, LAUNCH_RECORD_REQUEST_MAX >> 10);
}

int kernels_start(struct kernels *kernels, const struct kernel_request *request,
                  struct kernel **ret, struct error *err) {
    const struct kernelspec *spec;
    cleanup_json json_t *stored = NULL;
    char id[129];
    struct error refusal = {0};
    if (check_starts(kernels, request->identity, err) < 0 ||
        check_request(kernels, request, &spec, &stored, err) < 0 ||
        choose_id(kernels, request, json_object_get(stored, "env"), id, err) < 0)
        return -1;
    struct kernel *kernel = kernel_create(kernels, id);
    kernel->request = steal(&stored);
    fill_kernel(kernel, request, spec);
    if (check_record(kernel, err) < 0) {
        unmake(kernel);
        return -1;
    }
    struct kernel_heir heir = kernel_heir_of(kernel);
    kernel->inherited = kernel_ends_inherit(kernels->ends, &heir);
    text_replace(&kernel->notice, kernel_inherited_text(kernel));
    int started = kernel_provision(kernel, &refusal);
    kernel->is_unaccepted = started > 0;
    if (started < 0) {
        if (!request->refuse_in_notebook || !kernel_may_stand_in(kernel, &refusal)) {
            kernel_return_notice(kernel);
            unmake(kernel);
            *err = refusal;
            return -1;
        }
        kernel_set_cause(kernel, &refusal);
        kernel_post(kernel, KERNEL_EVENT_FAILED);
        kernel_keep_dead(kernel);
    } else if (request->refuse_in_notebook) {
        kernel->opening_until_ms = clock_monotonic_ms() + KERNEL_OPENING_MS;
    }
    log_info("kernel %s: %s for %s", kernel->id, kernel->name, kernel->owner);
    if (kernel->status.phase == KERNEL_LAUNCHING)
        kernel_observe_action(kernel, "start", NULL);
    *ret = kernel;
    return 0;
}

bool kernel_await_record(struct kernel *kernel, kernel_done *done, void *context) {
    if (kernel->is_unaccepted)
        kernel_wait_in(&kernel->accept_waiters, done, context);
    return kernel->is_unaccepted;
}

/* Finding. */

struct kernel *kernels_find(const struct kernels *kernels, const char *id) {
    return map_get(kernels->by_id, id);
}

struct kernel *kernels_next(const struct kernels *kernels, const struct kernel *previous) {
    const struct list_node *next =
        previous ? previous->node.next : ((const struct list *)&kernels->all)->head.next;
    return next == &kernels->all.head
               ? NULL
               : list_entry((struct list_node *)(uintptr_t)next, struct kernel, node);
}

size_t kernels_count(const struct kernels *kernels) {
    return map_count(kernels->by_id);
}

json_t *kernels_list(const struct kernels *kernels, const struct auth_identity *identity) {
    json_t *list = json_array();
    list_each (&kernels->all, struct kernel, node, kernel) {
        if (kernel_right(kernel, identity) != KERNEL_RIGHT_NONE && !kernel->is_unaccepted)
            json_array_append_new(list, kernel_model(kernel, identity));
    }
    return list;
}

/* JupyterLab asks for the model between its two sockets, and gives up on a kernel that is dead by
 * then: its first cell could not say why. */
static bool is_being_opened(const struct kernel *kernel) {
    return kernel->status.phase == KERNEL_DEAD && clock_monotonic_ms() < kernel->opening_until_ms;
}

/* The word for it where there is one, for programs, and the sentence for a person. */
static void add_reason(json_t *model, const char *cause, const char *text) {
    json_object_set_new(model, "reason", json_string(cause != NULL ? cause : text));
    json_object_set_new(model, "message", json_string(text));
}

json_t *kernel_model(const struct kernel *kernel, const struct auth_identity *identity) {
    bool is_opened = is_being_opened(kernel);
    json_t *model = json_pack("{s:s, s:s, s:s, s:s, s:i}", "id", kernel->id, "name", kernel->name,
                              "last_activity", kernel->last_activity, "execution_state",
                              is_opened ? "starting" : kernel->status.execution_state,
                              "connections", (int)kernel->connections);
    if (identity->role != AUTH_USER || kernel_right(kernel, identity) != KERNEL_RIGHT_OWN)
        json_object_set_new(model, "owner", json_string(kernel->owner));
    if (kernel->status.phase == KERNEL_DEAD && kernel->reason != NULL && !is_opened)
        add_reason(model, kernel->reason_cause, kernel->reason);
    else if (kernel->status.phase != KERNEL_DEAD && kernel->lost != NULL)
        add_reason(model, kernel->lost_cause, kernel->lost); /* it is being started anew */
    return model;
}

const char *kernel_id(const struct kernel *kernel) {
    return kernel->id;
}

uint64_t kernel_number(const struct kernel *kernel) {
    return kernel->number;
}

const char *kernel_owner(const struct kernel *kernel) {
    return kernel->owner;
}

const char *kernel_user(const struct kernel *kernel) {
    return kernel->user != NULL ? kernel->user : "";
}

const char *kernel_spec_name(const struct kernel *kernel) {
    return kernel->name;
}

unsigned kernel_connections(const struct kernel *kernel) {
    return kernel->connections;
}

struct kernel_activity *kernel_activity(struct kernel *kernel) {
    return &kernel->activity;
}

const char *kernel_display_name(const struct kernel *kernel) {
    return kernel->display_name;
}

const struct kernel_status *kernel_status(const struct kernel *kernel) {
    return &kernel->status;
}

struct link *kernel_link(const struct kernel *kernel) {
    return kernel->link;
}

int64_t kernel_launch_timeout_ms(const struct kernel *kernel, int64_t default_ms) {
    const struct kernels_settings defaults = {.launch_timeout_ms = default_ms};
    int64_t timeout_ms = default_ms;
    struct error err; /* refused when the kernel was started */
    (void)kernel_request_timeout(&defaults, json_object_get(kernel->request, "env"), &timeout_ms,
                                 &err);
    return timeout_ms;
}

bool kernel_is_elsewhere(const struct kernel *kernel) {
    return kernel->kernels->provisioner->ops->is_elsewhere;
}

void kernel_connected(struct kernel *kernel) {
    kernel->connections++;
    kernel->activity.was_attached = true;
}

void kernel_disconnected(struct kernel *kernel) {
    if (kernel->connections > 0)
        kernel->connections--;
}

/* All of them. */

static void find_user(struct kernels *kernels) {
    struct passwd entry, *found = NULL;
    char space[4096];
    if (getpwuid_r(geteuid(), &entry, space, sizeof space, &found) == 0 && found != NULL)
        snprintf(kernels->user, sizeof kernels->user, "%s", found->pw_name);
    else
        snprintf(kernels->user, sizeof kernels->user, "%u", (unsigned)geteuid());
}

void kernels_configure(struct kernels *kernels, const struct kernels_settings *settings) {
    kernels->settings = *settings;
}

int kernels_create(struct loop *loop, const struct kernels_settings *settings, struct links *links,
                   struct provisioner *provisioner, struct kernelspecs *specs, struct kernels **ret,
                   struct error *err) {
    struct kernel_ends *ends;
    if (kernel_ends_create(settings->state_directory, &ends, err) < 0)
        return -1;
    struct kernels *kernels = memory_alloc(sizeof *kernels);
    kernels->ends = ends;
    kernels->loop = loop;
    kernels->settings = *settings;
    kernels->links = links;
    kernels->provisioner = provisioner;
    kernels->specs = specs;
    kernels->by_id = map_create();
    list_init(&kernels->all);
    list_init(&kernels->ended);
    list_init(&kernels->answers);
    list_init(&kernels->lookers);
    list_init(&kernels->removals);
    kernels->answer = (struct loop_task){.run = kernels_run_answers, .context = kernels};
    kernels->reap = (struct loop_task){.run = on_reap, .context = kernels};
    find_user(kernels);
    *ret = kernels;
    return 0;
}

/* The gateway goes, the kernels stay. Nobody is told any more: who waited is gone, or goes too. */
void kernels_destroy(struct kernels *kernels) {
    if (kernels == NULL)
        return;
    loop_cancel(&kernels->answer);
    loop_cancel(&kernels->reap);
    loop_deadline_clear(kernels->loop, &kernels->adoption);
    kernels_drop_waiters(&kernels->answers);
    kernels_drop_lookers(kernels);
    kernels_drop_removals(kernels);
    list_each (&kernels->all, struct kernel, node, kernel) {
        list_remove(&kernel->node);
        list_append(&kernels->ended, &kernel->node);
    }
    list_each (&kernels->ended, struct kernel, node, kernel) {
        list_remove(&kernel->node);
        kernel_orders_orphan(kernel, true);
        link_close(kernel->link);
        if (kernel->provision != NULL)
            kernels->provisioner->ops->release(kernel->provision);
        free_kernel(kernel);
    }
    kernel_ends_destroy(kernels->ends);
    map_destroy(kernels->by_id);
    free(kernels);
}
