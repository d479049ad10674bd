#include "launcher/kube_schema.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "kernelspecs/substitute.h"
#include "launcher/kube_quantity.h"

#include <stdarg.h>
#include <string.h>

enum kind {
    TEXT,
    WHOLE,      /* a whole number */
    TRUTH,      /* true or false */
    TEXTS,      /* array of texts */
    WHOLES,     /* array of whole numbers */
    TEXT_MAP,   /* object of texts */
    AMOUNT,     /* quantity */
    AMOUNT_MAP, /* object of quantities */
    RECORD,     /* object with `members` known; others are free */
    LIST,       /* array of such objects */
};

struct field {
    const char *name;
    enum kind kind;
    const struct field *members; /* of RECORD and LIST; ends with a NULL name; NULL: none known */
    bool is_needed;
};

static const struct field capabilities[] = {{"add", TEXTS, 0, 0}, {"drop", TEXTS, 0, 0}, {0}};

static const struct field seccomp[] = {
    {"type", TEXT, 0, true}, {"localhostProfile", TEXT, 0, 0}, {0}};

/* Of pods and of containers. */
static const struct field security[] = {
    {"runAsUser", WHOLE, 0, 0},
    {"runAsGroup", WHOLE, 0, 0},
    {"fsGroup", WHOLE, 0, 0},
    {"supplementalGroups", WHOLES, 0, 0},
    {"runAsNonRoot", TRUTH, 0, 0},
    {"privileged", TRUTH, 0, 0},
    {"allowPrivilegeEscalation", TRUTH, 0, 0},
    {"readOnlyRootFilesystem", TRUTH, 0, 0},
    {"fsGroupChangePolicy", TEXT, 0, 0},
    {"procMount", TEXT, 0, 0},
    {"capabilities", RECORD, capabilities, 0},
    {"seccompProfile", RECORD, seccomp, 0},
    {"seLinuxOptions", RECORD, 0, 0},
    {"appArmorProfile", RECORD, 0, 0},
    {"sysctls", LIST, 0, 0},
    {0},
};

static const struct field env[] = {
    {"name", TEXT, 0, true}, {"value", TEXT, 0, 0}, {"valueFrom", RECORD, 0, 0}, {0}};

static const struct field ports[] = {
    {"containerPort", WHOLE, 0, true}, {"hostPort", WHOLE, 0, 0}, {"name", TEXT, 0, 0},
    {"protocol", TEXT, 0, 0},          {"hostIP", TEXT, 0, 0},    {0}};

static const struct field resources[] = {
    {"limits", AMOUNT_MAP, 0, 0}, {"requests", AMOUNT_MAP, 0, 0}, {"claims", LIST, 0, 0}, {0}};

static const struct field mount[] = {
    {"name", TEXT, 0, true},           {"mountPath", TEXT, 0, true},
    {"subPath", TEXT, 0, 0},           {"subPathExpr", TEXT, 0, 0},
    {"readOnly", TRUTH, 0, 0},         {"mountPropagation", TEXT, 0, 0},
    {"recursiveReadOnly", TEXT, 0, 0}, {0}};

static const struct field probe[] = {
    {"initialDelaySeconds", WHOLE, 0, 0}, {"periodSeconds", WHOLE, 0, 0},
    {"timeoutSeconds", WHOLE, 0, 0},      {"failureThreshold", WHOLE, 0, 0},
    {"successThreshold", WHOLE, 0, 0},    {0}};

static const struct field container[] = {
    {"name", TEXT, 0, 0},
    {"image", TEXT, 0, 0},
    {"imagePullPolicy", TEXT, 0, 0},
    {"command", TEXTS, 0, 0},
    {"args", TEXTS, 0, 0},
    {"workingDir", TEXT, 0, 0},
    {"env", LIST, env, 0},
    {"envFrom", LIST, 0, 0},
    {"ports", LIST, ports, 0},
    {"resources", RECORD, resources, 0},
    {"volumeMounts", LIST, mount, 0},
    {"volumeDevices", LIST, 0, 0},
    {"securityContext", RECORD, security, 0},
    {"livenessProbe", RECORD, probe, 0},
    {"readinessProbe", RECORD, probe, 0},
    {"startupProbe", RECORD, probe, 0},
    {"lifecycle", RECORD, 0, 0},
    {"restartPolicy", TEXT, 0, 0},
    {"terminationMessagePath", TEXT, 0, 0},
    {"terminationMessagePolicy", TEXT, 0, 0},
    {"stdin", TRUTH, 0, 0},
    {"tty", TRUTH, 0, 0},
    {0},
};

static const struct field nfs[] = {
    {"server", TEXT, 0, true}, {"path", TEXT, 0, true}, {"readOnly", TRUTH, 0, 0}, {0}};
static const struct field claim[] = {{"claimName", TEXT, 0, true}, {"readOnly", TRUTH, 0, 0}, {0}};
static const struct field host_path[] = {{"path", TEXT, 0, true}, {"type", TEXT, 0, 0}, {0}};
static const struct field empty_dir[] = {{"medium", TEXT, 0, 0}, {"sizeLimit", AMOUNT, 0, 0}, {0}};
static const struct field items[] = {
    {"key", TEXT, 0, true}, {"path", TEXT, 0, true}, {"mode", WHOLE, 0, 0}, {0}};
static const struct field from_object[] = {{"secretName", TEXT, 0, 0},
                                           {"name", TEXT, 0, 0},
                                           {"items", LIST, items, 0},
                                           {"defaultMode", WHOLE, 0, 0},
                                           {"optional", TRUTH, 0, 0},
                                           {"sources", LIST, 0, 0},
                                           {0}};

static const struct field volume[] = {
    {"name", TEXT, 0, true},
    {"nfs", RECORD, nfs, 0},
    {"persistentVolumeClaim", RECORD, claim, 0},
    {"hostPath", RECORD, host_path, 0},
    {"emptyDir", RECORD, empty_dir, 0},
    {"secret", RECORD, from_object, 0},
    {"configMap", RECORD, from_object, 0},
    {"projected", RECORD, from_object, 0},
    {"downwardAPI", RECORD, from_object, 0},
    {"csi", RECORD, 0, 0},
    {"ephemeral", RECORD, 0, 0},
    {0},
};

static const struct field toleration[] = {
    {"key", TEXT, 0, 0},    {"operator", TEXT, 0, 0},           {"value", TEXT, 0, 0},
    {"effect", TEXT, 0, 0}, {"tolerationSeconds", WHOLE, 0, 0}, {0}};
static const struct field named[] = {{"name", TEXT, 0, true}, {0}};
static const struct field spread[] = {
    {"maxSkew", WHOLE, 0, true}, {"topologyKey", TEXT, 0, true}, {"minDomains", WHOLE, 0, 0}, {0}};

static const struct field spec[] = {
    {"containers", LIST, container, true},
    {"initContainers", LIST, container, 0},
    {"volumes", LIST, volume, 0},
    {"nodeSelector", TEXT_MAP, 0, 0},
    {"tolerations", LIST, toleration, 0},
    {"affinity", RECORD, 0, 0},
    {"topologySpreadConstraints", LIST, spread, 0},
    {"priorityClassName", TEXT, 0, 0},
    {"priority", WHOLE, 0, 0},
    {"preemptionPolicy", TEXT, 0, 0},
    {"runtimeClassName", TEXT, 0, 0},
    {"schedulerName", TEXT, 0, 0},
    {"schedulingGates", LIST, named, 0},
    {"serviceAccountName", TEXT, 0, 0},
    {"serviceAccount", TEXT, 0, 0},
    {"automountServiceAccountToken", TRUTH, 0, 0},
    {"imagePullSecrets", LIST, named, 0},
    {"securityContext", RECORD, security, 0},
    {"restartPolicy", TEXT, 0, 0},
    {"terminationGracePeriodSeconds", WHOLE, 0, 0},
    {"activeDeadlineSeconds", WHOLE, 0, 0},
    {"hostNetwork", TRUTH, 0, 0},
    {"hostPID", TRUTH, 0, 0},
    {"hostIPC", TRUTH, 0, 0},
    {"hostUsers", TRUTH, 0, 0},
    {"shareProcessNamespace", TRUTH, 0, 0},
    {"dnsPolicy", TEXT, 0, 0},
    {"dnsConfig", RECORD, 0, 0},
    {"hostAliases", LIST, 0, 0},
    {"hostname", TEXT, 0, 0},
    {"subdomain", TEXT, 0, 0},
    {"enableServiceLinks", TRUTH, 0, 0},
    {"nodeName", TEXT, 0, 0},
    {"overhead", AMOUNT_MAP, 0, 0},
    {"resourceClaims", LIST, 0, 0},
    {"readinessGates", LIST, 0, 0},
    {"resources", RECORD, resources, 0},
    {"ephemeralContainers", LIST, 0, 0},
    {0},
};

static bool is_plain(const char *key) {
    return *key != '\0' && key[strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                           "0123456789_")] == '\0';
}

static char *write_place(const struct kube_place *place, bool is_quoted) {
    if (place->up == NULL)
        return memory_strdup("");
    cleanup_free char *before = write_place(place->up, is_quoted);
    if (place->key == NULL)
        return memory_printf("%s[%zu]", before, place->index);
    if (is_quoted && !is_plain(place->key))
        return memory_printf("%s[\"%.100s\"]", before, place->key);
    return memory_printf("%s%s%s", before, *before != '\0' ? "." : "", place->key);
}

char *kube_place_text(const struct kube_place *place) {
    return write_place(place, true);
}

char *kube_place_exact(const struct kube_place *place) {
    return write_place(place, false);
}

int kube_place_error(const struct kube_check *check, const struct kube_place *place,
                     struct error *err, const char *format, ...) {
    char problem[512];
    va_list args;
    va_start(args, format);
    utf8_format(problem, sizeof problem, format, args);
    va_end(args);
    cleanup_free char *path = kube_place_text(place);
    return error_set(err, ERROR_INVALID, "%s%s%.300s: %s", check->what, *path != '\0' ? ": " : "",
                     path, problem);
}

static int check_field(const struct kube_check *check, const struct kube_place *place,
                       const struct field *field, json_t *value, struct error *err);

static int check_members(const struct kube_check *check, const struct kube_place *place,
                         const struct field *fields, json_t *value, struct error *err) {
    if (!json_is_object(value))
        return kube_place_error(check, place, err, "must be a mapping of names to values");
    for (const struct field *field = fields; field != NULL && field->name != NULL; field++) {
        struct kube_place inner = {place, field->name, 0};
        json_t *member = json_object_get(value, field->name);
        /* The API takes null for a member that is not there. */
        if (member == NULL || json_is_null(member)) {
            if (field->is_needed)
                return kube_place_error(check, &inner, err, "must be there");
            continue;
        }
        if (check_field(check, &inner, field, member, err) < 0)
            return -1;
    }
    return 0;
}

static int check_whole(const struct kube_check *check, const struct kube_place *place,
                       json_t *value, struct error *err) {
    const char *text = json_string_value(value);
    if (json_is_integer(value) ||
        (text != NULL && !check->is_filled && substitute_is_variable(text)))
        return 0;
    if (text != NULL && check->is_filled)
        return kube_place_error(check, place, err, "\"%.64s\" must be a whole number", text);
    return kube_place_error(check, place, err,
                            "must be a whole number without quotes, or one reference such as "
                            "${KERNEL_UID}");
}

/* A filled text that is the digits of a number, as the number. NULL: it is none. */
static json_t *as_whole(const json_t *value) {
    int64_t number;
    const char *text = json_string_value(value);
    if (text == NULL || text_parse_int(text, INT64_MIN, INT64_MAX, "", &number, NULL) < 0)
        return NULL;
    return json_integer(number);
}

static int check_amount(const struct kube_check *check, const struct kube_place *place,
                        const json_t *value, struct error *err) {
    const char *text = json_string_value(value);
    struct error problem = {0};
    if (json_is_number(value) && json_number_value(value) >= 0)
        return 0;
    if (text == NULL)
        return kube_place_error(check, place, err, "must be an amount such as 2, 500m or 4Gi");
    bool has_reference = !check->is_filled && strchr(text, '$') != NULL;
    if (has_reference || kube_quantity_parse(text, "", NULL, &problem) == 0)
        return 0;
    return kube_place_error(check, place, err, "%s", problem.text + strlen(": "));
}

static int check_each(const struct kube_check *check, const struct kube_place *place,
                      enum kind kind, const struct field *members, json_t *value,
                      struct error *err) {
    struct field element = {"", kind, members, false};
    for (size_t i = 0; i < json_array_size(value); i++) {
        struct kube_place inner = {place, NULL, i};
        if (kind == WHOLE && check->is_filled) {
            json_t *number = as_whole(json_array_get(value, i));
            if (number != NULL)
                json_array_set_new(value, i, number);
        }
        if (check_field(check, &inner, &element, json_array_get(value, i), err) < 0)
            return -1;
    }
    return 0;
}

static int check_map(const struct kube_check *check, const struct kube_place *place, enum kind kind,
                     json_t *value, struct error *err) {
    struct field element = {"", kind, NULL, false};
    const char *key;
    json_t *member;
    json_object_foreach(value, key, member) {
        struct kube_place inner = {place, key, 0};
        if (check_field(check, &inner, &element, member, err) < 0)
            return -1;
    }
    return 0;
}

/* Whole numbers are put into their object here, since only here it is at hand. */
static void convert_wholes(const struct field *fields, json_t *object) {
    for (const struct field *field = fields; field != NULL && field->name != NULL; field++) {
        json_t *number =
            field->kind == WHOLE ? as_whole(json_object_get(object, field->name)) : NULL;
        if (number != NULL)
            json_object_set_new(object, field->name, number);
    }
}

static int check_field(const struct kube_check *check, const struct kube_place *place,
                       const struct field *field, json_t *value, struct error *err) {
    switch (field->kind) {
    case TEXT:
        return json_is_string(value)
                   ? 0
                   : kube_place_error(check, place, err, "must be a text%s",
                                      json_is_object(value) || json_is_array(value)
                                          ? ""
                                          : " (put it in quotes)");
    case WHOLE:
        return check_whole(check, place, value, err);
    case TRUTH:
        return json_is_boolean(value)
                   ? 0
                   : kube_place_error(check, place, err, "must be true or false");
    case AMOUNT:
        return check_amount(check, place, value, err);
    case TEXT_MAP:
    case AMOUNT_MAP:
        if (!json_is_object(value))
            return kube_place_error(check, place, err, "must be a mapping of names to %s",
                                    field->kind == TEXT_MAP ? "texts" : "amounts");
        return check_map(check, place, field->kind == TEXT_MAP ? TEXT : AMOUNT, value, err);
    case RECORD:
        if (check->is_filled)
            convert_wholes(field->members, value);
        return check_members(check, place, field->members, value, err);
    case TEXTS:
    case WHOLES:
    case LIST:
        if (!json_is_array(value))
            return kube_place_error(check, place, err, "must be a list");
        return check_each(check, place,
                          field->kind == TEXTS    ? TEXT
                          : field->kind == WHOLES ? WHOLE
                                                  : RECORD,
                          field->members, value, err);
    }
    return 0;
}

int kube_schema_spec(const struct kube_check *check, const struct kube_place *place, json_t *value,
                     struct error *err) {
    return check_field(check, place, &(struct field){"", RECORD, spec, false}, value, err);
}

int kube_schema_volume(const struct kube_check *check, const struct kube_place *place,
                       json_t *value, struct error *err) {
    return check_field(check, place, &(struct field){"", RECORD, volume, false}, value, err);
}

int kube_schema_mount(const struct kube_check *check, const struct kube_place *place, json_t *value,
                      struct error *err) {
    return check_field(check, place, &(struct field){"", RECORD, mount, false}, value, err);
}
