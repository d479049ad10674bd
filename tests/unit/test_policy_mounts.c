/* Whatever is asked for: a pod mounts the gateway's own volumes where the gateway mounts them, and
 * else what the policy allows. With homes, so that their volumes are there to be asked for. */
#include "policy_fixture.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "launcher/kube_order.h"

/* --- an order --- */

enum volume_form { HOME_NONE, HOME_NFS, HOME_PVC, HOME_CLAIM, HOMES };

static const char policy_text[] =
    "variables: {allow: ['KERNEL_*']}\n"
    "volumes:\n"
    "  types: [nfs, persistentVolumeClaim, emptyDir]\n"
    "  nfs:\n"
    "  - {server: nfs.example.com, paths: ['/export/home/{user}', /export/shared/**]}\n"
    "  - {server: nfs.example.com, paths: [/export/data], read_only: true}\n"
    "  claims: ['scratch-*', 'homes/{user}', 'elara-*']\n"
    "rules:\n"
    "- when: {kernelspecs: [plain]}\n"
    "  volumes: {types: [emptyDir]}\n";

struct order {
    struct provisioner_kubernetes_settings settings;
    json_t *record, *launch, *spec, *owner, *template;
    struct policy *policy;
    const char *user, *name; /* the kernelspec's */
    enum volume_form home;
};

static char extra_text[] = "data:/data";
static char *const extra[] = {extra_text, NULL};

static void begin(struct order *self, const char *user, const char *name, enum volume_form home,
                  const char *template) {
    const struct kube_pod_settings pod = {.image = "registry.example.com/py:3",
                                          .launcher_image = "elara:1",
                                          .uid = 1000,
                                          .gid = 100,
                                          .allowed = (1u << KUBE_WISHES) - 1,
                                          .policy = self->policy};
    self->settings = (struct provisioner_kubernetes_settings){
        .install = "elara", .gateway_namespace = "gateway", .kernel_namespace = "kernels"};
    self->settings.pod = pod;
    self->settings.home = (struct home_settings){.server = home != HOME_NONE ? "10.0.0.5" : NULL,
                                                 .export_path = "/export/all",
                                                 .path = "{user}",
                                                 .mount = "/home/jovyan",
                                                 .pvc = home == HOME_PVC ? "homes" : NULL,
                                                 .makes_claims = home == HOME_CLAIM,
                                                 .makes_namespaces = home == HOME_CLAIM,
                                                 .parent_gid = -1,
                                                 .extra = extra};
    self->record = json_pack("{s:s, s:s, s:{s:s, s:s, s:{}}}", "owner", user, "user", user,
                             "request", "verified", user, "username", user, "env");
    self->launch = json_pack("{s:s, s:{s:s, s:s}}", "kernel_name", name, "env", "KERNEL_ID", ID,
                             "KERNEL_USERNAME", user);
    self->spec = json_pack("{s:{}, s:{s:{s:[]}}}", "env", "metadata", "elara", "overridable");
    self->owner = json_pack("{s:s, s:s}", "name", "elara-kernel-" ID, "uid", "u-1");
    self->user = user;
    self->name = name;
    self->home = home;
    if (template != NULL) /* a Pod is one of Jinja */
        self->template =
            text_starts_with(template, "kind: Pod") ? json_string(template) : tree_of(template);
}

static void end(struct order *self) {
    json_t *const trees[] = {self->record, self->launch, self->spec, self->owner, self->template};
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++)
        json_decref(trees[i]);
    self->template = NULL;
}

static void say(struct order *self, const char *name, const char *value) {
    json_object_set_new(at(self->record, "request/env"), name, json_string(value));
    json_object_set_new(at(self->launch, "env"), name, json_string(value));
}

/* As the launch has it: a client's value takes the kernelspec's place. */
static void say_in_spec(struct order *self, const char *name, const char *value) {
    json_object_set_new(at(self->spec, "env"), name, json_string(value));
    if (at(self->record, "request/env") != NULL &&
        json_object_get(at(self->record, "request/env"), name) == NULL)
        json_object_set_new(at(self->launch, "env"), name, json_string(value));
}

/* NULL: refused, as err says. */
static json_t *pod_of(struct order *self, struct error *err) {
    const struct kube_order order = {.settings = &self->settings,
                                     .kernel_id = ID,
                                     .record = self->record,
                                     .launch = self->launch,
                                     .spec = self->spec};
    const struct kube_attempt attempt = {
        .number = 1, .namespace = "kernels", .template = self->template, .owner = self->owner};
    struct kube_home home = {0};
    json_t *pod = NULL;
    int failed =
        kube_order_check(&order, err) < 0 ? -1 : kube_order_pod(&order, &attempt, &pod, &home, err);
    free(home.path);
    if (failed < 0) {
        json_decref(pod);
        pod = NULL;
    }
    return pod;
}

/* --- what a pod may mount, written anew, so that it shares no mistake of the policy's --- */

static bool is_json(const json_t *value, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool is_json(const json_t *value, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cleanup_json json_t *wanted = json_loads(text, 0, NULL);
    assert_non_null(wanted);
    return json_equal(value, wanted);
}

static bool is_gateways_volume(const struct order *self, const json_t *volume) {
    const char *name = text_at(volume, "name");
    const char *claim = text_at(volume, "persistentVolumeClaim/claimName");
    char made[KUBE_NAME_SIZE];
    kube_home_name_claim(&self->settings.home, made);
    if (strcmp(name, "elara") == 0 || strcmp(name, "elara-tmp") == 0)
        return json_object_size(volume) == 2 && at(volume, "emptyDir") != NULL;
    if (strcmp(name, "elara-key") == 0)
        return strcmp(text_at(volume, "secret/secretName"), "elara-kernel-" ID) == 0;
    if (self->home == HOME_PVC || self->home == HOME_CLAIM)
        return strcmp(name, "elara-home") == 0 && claim != NULL &&
               strcmp(claim, self->home == HOME_PVC ? "homes" : made) == 0;
    return is_json(volume,
                   "{\"name\": \"elara-home\", \"nfs\": {\"server\": \"10.0.0.5\", "
                   "\"path\": \"/export/all/%s\", \"readOnly\": false}}",
                   self->user) ||
           is_json(volume, "{\"name\": \"elara-home-1\", \"nfs\": {\"server\": \"10.0.0.5\", "
                           "\"path\": \"/export/all/data\", \"readOnly\": true}}");
}

/* list: of containers; place: the container's name. */
static bool is_gateways_mount(const struct order *self, const char *place, bool is_kernel,
                              const json_t *mount) {
    static const char plain[] = "{\"name\": \"elara\", \"mountPath\": \"/opt/elara\"}";
    if (!is_kernel)
        return strcmp(place, "elara-launcher") == 0 && is_json(mount, "%s", plain);
    if (is_json(mount, "%s", plain) ||
        is_json(mount, "{\"name\": \"elara-key\", \"mountPath\": \"/etc/elara\", "
                       "\"readOnly\": true}") ||
        is_json(mount, "{\"name\": \"elara-tmp\", \"mountPath\": \"/tmp\"}"))
        return true;
    if (self->home == HOME_NFS)
        return is_json(mount, "{\"name\": \"elara-home\", \"mountPath\": \"/home/jovyan\", "
                              "\"readOnly\": false}") ||
               is_json(mount, "{\"name\": \"elara-home-1\", \"mountPath\": \"/data\", "
                              "\"readOnly\": true}");
    return self->home != HOME_NONE &&
           (is_json(mount,
                    "{\"name\": \"elara-home\", \"mountPath\": \"/home/jovyan\", "
                    "\"readOnly\": false, \"subPath\": \"%s\"}",
                    self->user) ||
            is_json(mount, "{\"name\": \"elara-home\", \"mountPath\": \"/data\", "
                           "\"readOnly\": true, \"subPath\": \"data\"}"));
}

/* The administrator's: their names say so. */
static bool is_admins_volume(const json_t *volume) {
    return is_json(volume, "{\"name\": \"a-keys\", \"secret\": {\"secretName\": \"keys\"}}") ||
           is_json(volume, "{\"name\": \"a-all\", \"nfs\": {\"server\": \"nfs.example.com\", "
                           "\"path\": \"/export/home\"}}") ||
           is_json(volume, "{\"name\": \"a-homes\", \"persistentVolumeClaim\": {\"claimName\": "
                           "\"homes\"}}");
}

/* A path, NULL for none, in this user's part. */
static bool may_see_path(const struct order *self, const char *path, bool is_read_only) {
    char own[128];
    snprintf(own, sizeof own, "/export/home/%s", self->user);
    if (strstr(path, "..") != NULL || strstr(path, "//") != NULL || strstr(path, "/.") != NULL)
        return false;
    return strcmp(path, own) == 0 || strcmp(path, "/export/shared") == 0 ||
           strncmp(path, "/export/shared/", 15) == 0 ||
           (strcmp(path, "/export/data") == 0 && is_read_only);
}

/* sub_path: NULL for all of it; is_declared: it is only there, nothing mounts it here. */
static bool may_have(const struct order *self, const json_t *volume, const char *sub_path,
                     bool is_declared) {
    const json_t *nfs = json_object_get(volume, "nfs");
    const char *claim = text_at(volume, "persistentVolumeClaim/claimName");
    char path[512];
    if (json_object_size(volume) != 2)
        return false;
    if (json_object_get(volume, "emptyDir") != NULL)
        return true;
    if (strcmp(self->name, "plain") == 0)
        return false;
    if (claim != NULL)
        return strncmp(claim, "scratch-", 8) == 0 ||
               (strcmp(claim, "homes") == 0 &&
                (is_declared || (sub_path != NULL && strcmp(sub_path, self->user) == 0)));
    if (nfs == NULL || strcmp(text_at(nfs, "server"), "nfs.example.com") != 0)
        return false;
    snprintf(path, sizeof path, "%s%s%s", text_at(nfs, "path"), sub_path != NULL ? "/" : "",
             sub_path != NULL ? sub_path : "");
    return may_see_path(self, path, json_is_true(json_object_get(nfs, "readOnly")));
}

static const json_t *volume_of(const json_t *pod, const char *name) {
    const json_t *found = NULL;
    size_t i;
    json_t *volume;
    json_array_foreach(at(pod, "spec/volumes"), i, volume) {
        if (strcmp(text_at(volume, "name"), name) == 0)
            found = volume;
    }
    assert_non_null(found);
    return found;
}

static bool may_mount(const struct order *self, const json_t *pod, const json_t *container,
                      bool is_kernel, const json_t *mount) {
    const char *name = text_at(mount, "name"), *sub_path = text_at(mount, "subPath");
    const json_t *volume = volume_of(pod, name);
    if (text_starts_with(name, "elara"))
        return is_gateways_mount(self, text_at(container, "name"), is_kernel, mount);
    if (is_json(mount, "{\"name\": \"a-keys\", \"mountPath\": \"/k\"}") && !is_kernel)
        return true; /* as templates below have it */
    return at(mount, "subPathExpr") == NULL && may_have(self, volume, sub_path, false);
}

static void assert_allowed(const struct order *self, const json_t *pod) {
    static const char *const lists[] = {"containers", "initContainers"};
    bool is_good = at(pod, "spec/ephemeralContainers") == NULL;
    size_t i, j;
    json_t *element, *mount;
    json_array_foreach(at(pod, "spec/volumes"), i, element) {
        is_good &= text_starts_with(text_at(element, "name"), "elara")
                       ? is_gateways_volume(self, element)
                       : is_admins_volume(element) || may_have(self, element, NULL, true);
    }
    for (size_t n = 0; n < sizeof lists / sizeof *lists; n++) {
        json_array_foreach(json_object_get(at(pod, "spec"), lists[n]), i, element) {
            bool is_kernel = n == 0 && i == 0;
            is_good &= json_object_get(element, "volumeDevices") == NULL;
            json_array_foreach(json_object_get(element, "volumeMounts"), j, mount) {
                is_good &= may_mount(self, pod, element, is_kernel, mount);
            }
        }
    }
    if (!is_good) {
        char *text = json_dumps(at(pod, "spec"), JSON_INDENT(1)),
             *env = json_dumps(at(self->record, "request"), 0);
        fail_msg("%s, home %d, %s: %s", self->user, (int)self->home, env, text);
    }
}

/* --- what is asked for --- */

#define ADMINS                                                                                     \
    "  volumes:\n"                                                                                 \
    "  - {name: a-keys, secret: {secretName: keys}}\n"                                             \
    "  - {name: a-all, nfs: {server: nfs.example.com, path: /export/home}}\n"                      \
    "  - {name: a-homes, persistentVolumeClaim: {claimName: homes}}\n"
#define OPEN "  - {name: e, emptyDir: {}}\n"
#define SIDE "{name: side, image: s, volumeMounts: [{name: a-keys, mountPath: /k}"

static const char *const templates[] = {
    NULL,
    "spec:\n" ADMINS "  containers: [{name: kernel}, " SIDE "]}]\n",
    "spec:\n" ADMINS "  containers: [{name: kernel}, " SIDE
    ", {name: '${KERNEL_X}', mountPath: /s, subPath: '${KERNEL_Y}'}]}]\n",
    "spec:\n" ADMINS OPEN "  containers: [{name: kernel}]\n  initContainers: [" SIDE
    ", {name: '${KERNEL_X}', mountPath: /s}]}]\n",
    "spec:\n" ADMINS "  containers: [{name: kernel, env: [{name: A, value: '${KERNEL_Y}'}, "
    "{name: B, value: $$(A)}], volumeMounts: [{name: a-homes, mountPath: /h, subPathExpr: "
    "$$(B)}]}]\n",
    "spec:\n" ADMINS "  containers: [{name: kernel, volumeDevices: [{name: '${KERNEL_X}', "
    "devicePath: /d}]}]\n",
    "kind: Pod\nspec:\n  containers:\n  - name: kernel\n    volumeMounts:\n"
    "    {% for mount in kernel_volume_mounts %}\n    - {{ mount }}\n    {% endfor %}\n"
    "  - name: side\n    image: s\n    volumeMounts:\n"
    "    {% for mount in kernel_volume_mounts %}\n    - {{ mount }}\n    {% endfor %}\n" ADMINS
    "  {% for volume in kernel_volumes %}\n  - {{ volume }}\n  {% endfor %}\n",
    "kind: Pod\nspec:\n  containers:\n  - {name: kernel}\n  initContainers:\n  - name: first\n"
    "    image: s\n    volumeMounts:\n    - {name: '{{ kernel_x }}', mountPath: /s, subPath: "
    "'{{ kernel_y }}'}\n" ADMINS,
    "kind: Pod\nspec:\n  containers:\n  - name: kernel\n    volumeMounts:\n"
    "    - {name: '{{ kernel_x }}', mountPath: /s}\n    - {name: a-all, mountPath: /t, subPath: "
    "'{{ kernel_y }}'}\n" ADMINS OPEN,
};

static const char *const names[] = {
    "elara",   "elara-key", "elara-tmp", "elara-home", "elara-home-1", "a-keys", "a-all",
    "a-homes", "e",         "elara-x",   "n"};
static const char *const sub_paths[] = {"ann", "bob", "ann", "bob", "ann/../bob", "a", "ann/x"};

static void the_homes_volume_is_the_gateways(void **state) {
    struct order *self = *state;
    for (unsigned home = HOME_NFS; home < HOMES; home++) {
        for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
            for (size_t trusts = 0; trusts < 2; trusts++) {
                static char all[] = "*";
                static char *const star[] = {all, NULL};
                struct error err = {0};
                begin(self, "ann", "python3", home, templates[i]);
                if (trusts) { /* no policy, and kubernetes-allow: ["*"] */
                    self->settings.pod.policy = NULL;
                    self->settings.pod.trusted = star;
                }
                say(self, "KERNEL_X", "elara-home");
                say(self, "KERNEL_Y", "bob");
                say(self, "KERNEL_VOLUME_MOUNTS", "[{name: elara-home, mountPath: /all}]");
                say(self, "KERNEL_VOLUMES", "[]");
                json_t *pod = pod_of(self, &err);
                if (pod != NULL)
                    fail_msg("template %zu, home %u: made", i, home);
                bool is_named = strstr(err.text, "\"elara-home\" is Elara's own") != NULL;
                if (!is_named)
                    fail_msg("template %zu, home %u: %s", i, home, err.text);
                end(self);
            }
        }
    }
}

static unsigned long next(unsigned long *seed) {
    *seed = *seed * 6364136223846793005UL + 1442695040888963407UL;
    return *seed >> 33;
}

#define PICK(seed, list) (list)[next(seed) % (sizeof(list) / sizeof *(list))]

/* "[{...}, {...}]" of at most three. */
static void random_list(unsigned long *seed, const char *const *parts, size_t count, char *ret,
                        size_t size) {
    size_t length = (size_t)snprintf(ret, size, "[");
    for (size_t n = next(seed) % 4; n > 0; n--)
        length += (size_t)snprintf(ret + length, size - length, "%s%s", parts[next(seed) % count],
                                   n > 1 ? ", " : "");
    snprintf(ret + length, size - length, "]");
}

static void ask_for_lists(struct order *self, unsigned long *seed) {
    static const char *const volumes[] = {
        "{name: e, emptyDir: {}}",
        "{name: r, hostPath: {path: /}}",
        "{name: n, nfs: {server: nfs.example.com, path: /export/home/ann}}",
        "{name: m, nfs: {server: nfs.example.com, path: /export/home/bob}}",
        "{name: n, nfs: {server: nfs.example.com, path: /export/shared/x}}",
        "{name: d, nfs: {server: nfs.example.com, path: /export/data, readOnly: true}}",
        "{name: c, persistentVolumeClaim: {claimName: scratch-1}}",
        "{name: h, persistentVolumeClaim: {claimName: homes}}",
        "{name: o, persistentVolumeClaim: {claimName: elara-home-0123}}",
        "{name: s, secret: {secretName: s}}",
        "{name: elara-home-2, emptyDir: {}}"};
    char mount[128], list[1024];
    const char *mounts[3];
    char texts[3][192];
    if (next(seed) % 2 == 0) {
        random_list(seed, volumes, sizeof volumes / sizeof *volumes, list, sizeof list);
        say(self, "KERNEL_VOLUMES", list);
    }
    for (size_t i = 0; i < 3; i++) {
        static const char *const of_lists[] = {"e", "n", "m", "d", "c", "h", "o"};
        const char *name = next(seed) % 3 == 0 ? PICK(seed, names) : PICK(seed, of_lists);
        snprintf(mount, sizeof mount, "{name: %s, mountPath: /m%zu", name, i);
        if (next(seed) % 2 == 0)
            snprintf(texts[i], sizeof texts[i], "%s}", mount);
        else
            snprintf(texts[i], sizeof texts[i], "%s, subPath: '%s'}", mount, PICK(seed, sub_paths));
        mounts[i] = texts[i];
    }
    if (next(seed) % 2 == 0) {
        random_list(seed, mounts, 3, list, sizeof list);
        say(self, "KERNEL_VOLUME_MOUNTS", list);
    }
}

static void let_the_spec_say(struct order *self, unsigned long *seed) {
    if (next(seed) % 3 != 0)
        return;
    say_in_spec(self, "KERNEL_VOLUMES",
                "[{name: n, nfs: {server: nfs.example.com, path: $KERNEL_PATH}}]");
    say_in_spec(self, "KERNEL_VOLUME_MOUNTS", "[{name: n, mountPath: /home/old}]");
    if (next(seed) % 2 == 0)
        json_array_append_new(at(self->spec, "metadata/elara/overridable"),
                              json_string("KERNEL_VOLUMES"));
    if (next(seed) % 2 == 0)
        json_array_append_new(at(self->spec, "metadata/elara/overridable"),
                              json_string("KERNEL_VOLUME_MOUNTS"));
}

static void random_path(unsigned long *seed, char *ret, size_t size) {
    static const char *const starts[] = {"/export/home/ann", "/export/home/bob", "/export/shared",
                                         "/export/data", "/export/home"};
    static const char *const ends[] = {"",  "",    "",  "/ann",         "/bob", "/..",
                                       "/", "//x", "*", "\xe2\x88\x95", "}}",   ", readOnly: true"};
    snprintf(ret, size, "%s%s", PICK(seed, starts), PICK(seed, ends));
}

/* What the client has put into the environment, and a device that it names. */
static bool is_always_refused(size_t template) {
    const char *text = templates[template];
    return text != NULL && (strstr(text, "subPathExpr") != NULL || strstr(text, "Devices") != NULL);
}

static void accepted_requests_mount_what_is_allowed(void **state) {
    static const char *const users[] = {"ann", "bob", "an"};
    static const char *const specs[] = {"python3", "python3", "plain"};
    static const char *const harmless[] = {"e", "a-homes"};
    struct order *self = *state;
    size_t made[HOMES] = {0}, with[sizeof templates / sizeof *templates] = {0};
    for (unsigned long first = 1; first <= 3; first++) {
        unsigned long seed = first;
        for (int i = 0; i < 8000; i++) {
            size_t template = next(&seed) % (sizeof templates / sizeof *templates);
            enum volume_form home = next(&seed) % HOMES;
            char path[256];
            begin(self, PICK(&seed, users), PICK(&seed, specs), home, templates[template]);
            random_path(&seed, path, sizeof path);
            say(self, "KERNEL_PATH", path);
            say(self, "KERNEL_X",
                next(&seed) % 2 == 0 ? PICK(&seed, harmless) : PICK(&seed, names));
            say(self, "KERNEL_Y", next(&seed) % 2 == 0 ? self->user : PICK(&seed, sub_paths));
            ask_for_lists(self, &seed);
            let_the_spec_say(self, &seed);
            json_t *pod = pod_of(self, NULL);
            if (pod != NULL) {
                assert_allowed(self, pod);
                made[home]++;
                with[template]++;
            }
            json_decref(pod);
            end(self);
        }
    }
    for (size_t i = 0; i < HOMES; i++) /* or nothing was shown */
        assert_in_range(made[i], 300, 5000);
    for (size_t i = 0; i < sizeof with / sizeof *with; i++)
        assert_true(is_always_refused(i) ? with[i] == 0 : with[i] > 20);
}

static int set_up_order(void **state) {
    struct order *self = calloc(1, sizeof *self);
    self->policy = policy_of(policy_text);
    *state = self;
    return 0;
}

static int tear_down_order(void **state) {
    struct order *self = *state;
    policy_destroy(self->policy);
    free(self);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_homes_volume_is_the_gateways, set_up_order,
                                        tear_down_order),
        cmocka_unit_test_setup_teardown(accepted_requests_mount_what_is_allowed, set_up_order,
                                        tear_down_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
