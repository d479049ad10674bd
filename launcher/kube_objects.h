/* The objects of a kernel in Kubernetes but its pod (kube_pod.h), as trees: the record Secret, the
 * key Secret, a namespace with its NetworkPolicy and RoleBinding; and what all of them carry.
 *
 * Labels: app.kubernetes.io/name "elara", app.kubernetes.io/component "kernel", elara.install,
 * elara.kernel (the suffix of kube_names.h), elara.owner, elara.kind, and Jupyter Enterprise
 * Gateway's kernel_id, app "enterprise-gateway" and component "kernel". Annotations:
 * elara.kernel-id and elara.owner hold the whole texts. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define KUBE_LABEL_INSTALL    "elara.install"
#define KUBE_LABEL_KERNEL     "elara.kernel"
#define KUBE_LABEL_OWNER      "elara.owner"
#define KUBE_LABEL_STATE      "elara.state"   /* of record Secrets */
#define KUBE_LABEL_ATTEMPT    "elara.attempt" /* of pods */
#define KUBE_LABEL_KIND       "elara.kind"    /* "record", "key", "pod", "namespace", ... */
#define KUBE_ANNOTATION_ID    "elara.kernel-id"
#define KUBE_ANNOTATION_OWNER "elara.owner"

/* Whose object it is. Borrowed texts. */
struct kube_identity {
    const char *install;
    const char *kernel_id;
    const char *owner; /* NULL: nobody's */
};

/* New references. */
json_t *kube_labels(const struct kube_identity *identity, const char *kind);
json_t *kube_annotations(const struct kube_identity *identity);

/* Label selectors for a list or a watch, as they stand in a query before it is percent-encoded: all
 * objects of the kind of this install ("elara.install=x,elara.kind=pod"). malloc'ed. */
char *kube_selector(const char *install, const char *kind);

/* {apiVersion, kind, name, uid} of an object the API server answered with; NULL when it lacks one
 * of them. A new reference. blockOwnerDeletion is not set: it would need more rights. */
json_t *kube_owner_reference(const json_t *object);
/* Makes owner (as the API server answered it) an owner of object. -1: it lacks its name or uid. */
int kube_owner_add(json_t *object, const json_t *owner, struct error *err);

/* What every object answers of itself; borrowed, NULL when it is not there. */
const char *kube_object_name(const json_t *object);
const char *kube_object_namespace(const json_t *object);
const char *kube_object_uid(const json_t *object);
const char *kube_object_version(const json_t *object); /* resourceVersion */
const char *kube_object_label(const json_t *object, const char *label);
/* The whole id in the annotation, or NULL. For any object of a kernel. */
const char *kube_object_kernel_id(const json_t *object);

/* --- the record Secret, in the gateway's own namespace ---
 * data: record.json (launch.h) and place.json {namespace, namespace_created, attempt, pods,
 * server_key, port}; label elara.state. */
enum kube_record_state { KUBE_RECORD_LIVE, KUBE_RECORD_DEAD, KUBE_RECORD_ENDED };

struct kube_record {
    char *kernel_id;
    json_t *record; /* an object */
    enum kube_record_state state;
    char *kernel_namespace; /* NULL: not chosen yet */
    bool namespace_created; /* by us: it goes with the kernel */
    int64_t attempt;        /* of the pod; 0: there was none yet */
    char *pods;             /* kube_name_pods; NULL: not known */
    char *server_key;       /* the launcher's Z85 public key, or NULL */
    int64_t port;           /* of the launcher; 0: not known */
    char *version;          /* resourceVersion it was read with; NULL: new */
    char *uid;              /* NULL: new */
};

/* The Secret; owner is taken from the record. ERROR_LIMIT: above 1 MiB, which is all that a Secret
 * may hold. */
int kube_record_tree(const struct kube_record *record, const char *install, const char *namespace,
                     json_t **ret, struct error *err);
/* A merge patch (RFC 7396) that brings state, record and place to what they are here. With a
 * version the API server answers 409 when somebody else was faster. */
int kube_record_patch(const struct kube_record *record, json_t **ret, struct error *err);
/* Reads a Secret. Labels may have been edited by hand: the id is the one that the Secret is named
 * by, from the annotation or the record; a state nobody knows counts as live; place.json may be
 * missing. What cannot be done
 * without (data, record.json, good base64, an object in it, the id) is an ERROR_INVALID that names
 * Secret and member. Unknown members are left alone. */
int kube_record_read(const json_t *secret, struct kube_record **ret, struct error *err);
struct kube_record *kube_record_new(const char *kernel_id, const json_t *record); /* live, copied */
void kube_record_free(struct kube_record *record);
const char *kube_record_state_name(enum kube_record_state state); /* "live", "dead", "ended" */

/* --- the key Secret, in the kernel's namespace: it owns every pod of the kernel --- */
struct kube_key {
    const json_t *launch, *record; /* trees; record may be NULL */
    const char *secret_key;        /* the launcher's own pair, Z85 */
    const char *public_key;
    const char *gateway_key; /* the only one it lets in, Z85, public */
};
/* data: launch.json, record.json, link.key, link.pub, gateway.pub. ERROR_LIMIT as above. */
int kube_key_tree(const struct kube_key *key, const struct kube_identity *identity,
                  const char *namespace, json_t **ret, struct error *err);
/* The launcher's public key in one that is there already; malloc'ed. */
int kube_key_read(const json_t *secret, char **ret_public_key, struct error *err);

/* --- the gateway's own pair, shared by all replicas --- */
json_t *kube_gateway_tree(const char *install, const char *namespace, const char *public_key,
                          const char *secret_key);
/* malloc'ed. The caller wipes the secret one. */
int kube_gateway_read(const json_t *secret, char **ret_public_key, char **ret_secret_key,
                      struct error *err);

/* --- a namespace of one kernel or one user --- */
/* identity->kernel_id may be NULL (a user's). more_labels: object of texts or NULL, such as
 * {"pod-security.kubernetes.io/enforce": "restricted"}; ours win. A new reference. */
json_t *kube_namespace_tree(const char *name, const struct kube_identity *identity,
                            const json_t *more_labels);
/* Was it made by this install, for kernels? Only then may it be deleted. */
bool kube_namespace_is_ours(const json_t *namespace, const char *install);
/* Of the name "elara-kernels"; spec: a NetworkPolicySpec, copied. A new reference. */
json_t *kube_network_policy_tree(const char *namespace, const struct kube_identity *identity,
                                 const json_t *spec);
/* Binds the ClusterRole to the service account within the namespace; named like the role, as
 * Jupyter Enterprise Gateway does. A new reference. */
json_t *kube_role_binding_tree(const char *namespace, const char *cluster_role,
                               const char *service_account, const struct kube_identity *identity);
