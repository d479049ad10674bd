#include "launcher/kube_objects.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "launcher/base64.h"
#include "launcher/kube_names.h"

#include <assert.h>
#include <string.h>

static const char *metadata_text(const json_t *object, const char *member) {
    return json_string_value(json_object_get(json_object_get(object, "metadata"), member));
}

const char *kube_object_name(const json_t *object) {
    return metadata_text(object, "name");
}

const char *kube_object_namespace(const json_t *object) {
    return metadata_text(object, "namespace");
}

const char *kube_object_uid(const json_t *object) {
    return metadata_text(object, "uid");
}

const char *kube_object_version(const json_t *object) {
    return metadata_text(object, "resourceVersion");
}

static const char *in_metadata(const json_t *object, const char *map, const char *key) {
    const json_t *metadata = json_object_get(object, "metadata");
    return json_string_value(json_object_get(json_object_get(metadata, map), key));
}

const char *kube_object_label(const json_t *object, const char *label) {
    return in_metadata(object, "labels", label);
}

const char *kube_object_kernel_id(const json_t *object) {
    return in_metadata(object, "annotations", KUBE_ANNOTATION_ID);
}

static void set_text(json_t *object, const char *member, const char *value) {
    json_object_set_new(object, member, json_string(value));
}

static void set_label(json_t *labels, const char *label, const char *text) {
    char value[KUBE_NAME_SIZE];
    kube_label_value(text, value);
    set_text(labels, label, value);
}

json_t *kube_labels(const struct kube_identity *identity, const char *kind) {
    json_t *labels = json_object();
    set_text(labels, "app.kubernetes.io/name", "elara");
    set_text(labels, "app.kubernetes.io/component", "kernel");
    set_text(labels, "app", "enterprise-gateway");
    set_text(labels, "component", "kernel");
    set_text(labels, KUBE_LABEL_INSTALL, identity->install);
    set_text(labels, KUBE_LABEL_KIND, kind);
    if (identity->kernel_id != NULL) {
        char suffix[KUBE_SUFFIX_SIZE];
        kube_name_suffix(identity->kernel_id, suffix);
        set_text(labels, KUBE_LABEL_KERNEL, suffix);
        set_label(labels, "kernel_id", identity->kernel_id);
    }
    if (identity->owner != NULL)
        set_label(labels, KUBE_LABEL_OWNER, identity->owner);
    return labels;
}

json_t *kube_annotations(const struct kube_identity *identity) {
    json_t *annotations = json_object();
    if (identity->kernel_id != NULL)
        set_text(annotations, KUBE_ANNOTATION_ID, identity->kernel_id);
    if (identity->owner != NULL)
        set_text(annotations, KUBE_ANNOTATION_OWNER, identity->owner);
    return annotations;
}

char *kube_selector(const char *install, const char *kind) {
    return memory_printf(KUBE_LABEL_INSTALL "=%s," KUBE_LABEL_KIND "=%s", install, kind);
}

json_t *kube_owner_reference(const json_t *object) {
    const char *version = json_string_value(json_object_get(object, "apiVersion"));
    const char *kind = json_string_value(json_object_get(object, "kind"));
    const char *name = kube_object_name(object), *uid = kube_object_uid(object);
    if (version == NULL || kind == NULL || name == NULL || uid == NULL)
        return NULL;
    return json_pack("{s:s, s:s, s:s, s:s}", "apiVersion", version, "kind", kind, "name", name,
                     "uid", uid);
}

int kube_owner_add(json_t *object, const json_t *owner, struct error *err) {
    json_t *reference = kube_owner_reference(owner);
    if (reference == NULL)
        return error_set(err, ERROR_INVALID,
                         "the owner of an object has no apiVersion, kind, metadata.name and "
                         "metadata.uid as the API server answers them");
    json_t *metadata = json_object_get(object, "metadata");
    json_t *owners = json_object_get(metadata, "ownerReferences");
    if (owners == NULL) {
        owners = json_array();
        json_object_set_new(metadata, "ownerReferences", owners);
    }
    json_array_append_new(owners, reference);
    return 0;
}

static json_t *tree(const char *version, const char *kind, const char *name, const char *namespace,
                    json_t *labels, json_t *annotations) {
    return json_pack("{s:s, s:s, s:{s:s, s:s*, s:o, s:o}}", "apiVersion", version, "kind", kind,
                     "metadata", "name", name, "namespace", namespace, "labels", labels,
                     "annotations", annotations);
}

json_t *kube_namespace_tree(const char *name, const struct kube_identity *identity,
                            const json_t *more_labels) {
    json_t *labels = kube_labels(identity, "namespace");
    json_object_update_missing(labels, (json_t *)(uintptr_t)more_labels);
    return tree("v1", "Namespace", name, NULL, labels, kube_annotations(identity));
}

bool kube_namespace_is_ours(const json_t *namespace, const char *install) {
    const char *kind = kube_object_label(namespace, KUBE_LABEL_KIND);
    const char *theirs = kube_object_label(namespace, KUBE_LABEL_INSTALL);
    return kind != NULL && theirs != NULL && strcmp(kind, "namespace") == 0 &&
           strcmp(theirs, install) == 0;
}

json_t *kube_network_policy_tree(const char *namespace, const struct kube_identity *identity,
                                 const json_t *spec) {
    json_t *policy = tree("networking.k8s.io/v1", "NetworkPolicy", "elara-kernels", namespace,
                          kube_labels(identity, "network-policy"), kube_annotations(identity));
    json_object_set_new(policy, "spec", json_deep_copy(spec));
    return policy;
}

json_t *kube_role_binding_tree(const char *namespace, const char *cluster_role,
                               const char *service_account, const struct kube_identity *identity) {
    json_t *binding = tree("rbac.authorization.k8s.io/v1", "RoleBinding", cluster_role, namespace,
                           kube_labels(identity, "binding"), kube_annotations(identity));
    json_object_set_new(binding, "roleRef",
                        json_pack("{s:s, s:s, s:s}", "apiGroup", "rbac.authorization.k8s.io",
                                  "kind", "ClusterRole", "name", cluster_role));
    json_object_set_new(binding, "subjects",
                        json_pack("[{s:s, s:s, s:s}]", "kind", "ServiceAccount", "name",
                                  service_account, "namespace", namespace));
    return binding;
}
