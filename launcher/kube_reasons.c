#include "launcher/kube_reasons.h"

#include "base/text.h"
#include "launcher/kube_text.h"

#include <string.h>

static const struct kube_reason rows[] = {
    /* On the way to a running container. */
    {"Unschedulable",
     "no node has room for the pod, or none may take it, for longer than the grace",
     "Ask for less (KERNEL_CPUS, KERNEL_MEMORY, KERNEL_GPUS), shut down kernels that are not "
     "needed, "
     "or ask the administrator for nodes."},
    {"ImagePullBackOff",
     "the image cannot be pulled; what cannot get better ends the start at once",
     "Check the image's name and tag, and that the cluster may pull it (imagePullSecrets of the "
     "kernelspec's pod.yaml)."},
    {"InvalidImageName", "the image's name is not a valid one",
     "Correct it in the kernelspec, in the setting kubernetes-image or in KERNEL_IMAGE."},
    {"ErrImageNeverPull", "the image is not on the node and imagePullPolicy is Never",
     "Load it onto the node, or take imagePullPolicy: Never out of the kernelspec's pod.yaml."},
    {"FailedMount", "a volume cannot be mounted",
     "Check the volume in the kernelspec's pod.yaml or KERNEL_VOLUMES, and that its server, claim, "
     "Secret or ConfigMap is there."},
    {"HomeFailed",
     "the user's home directory cannot be made ready, before there is a pod or a process",
     "Start the kernel again when that is corrected (docs/homes.md)."},
    {"FailedAttachVolume", "a volume cannot be attached to the node",
     "It may still be in use on another node: shut down what uses it, or ask the administrator."},
    {"FailedCreatePodSandBox", "the node cannot make the pod's sandbox or network",
     "Something is wrong with the node or the cluster's network: ask the administrator."},
    {"CreateContainerConfigError", "the container's configuration cannot be made",
     "The administrator has to add what is missing, or to correct the kernelspec's pod.yaml."},
    {"CreateContainerError", "the node cannot make the container",
     "Ask the administrator: the node's container runtime refuses it."},
    {"RunContainerError", "the container cannot be started",
     "Check that the image is whole and made for the node's CPU architecture, and check the "
     "kernelspec's pod.yaml."},
    {"InitContainerFailed", "a container that runs before the kernel's has failed",
     "Elara's own has the image of kubernetes-launcher-image; the others stand in the kernelspec's "
     "pod.yaml."},
    {"CrashLoopBackOff", "the container ended several times, each time soon after its start",
     "Look at the kernel's log; an image or a kernelspec that cannot work is the usual cause."},
    {"OOMKilled", "the container went over its memory limit",
     "Ask for more memory (KERNEL_MEMORY_LIMIT or another kernelspec), or load less data."},
    {"KernelspecsSilent",
     "the directory of the kernelspec does not answer, as when it is on NFS and the server hangs",
     "Start the kernel again in a while, and tell the administrator if that does not help."},
    {"StartDeadline", "the pod did not run within start-deadline",
     "Start the kernel again, or ask the administrator."},
    /* What ended a pod. */
    {"DeadlineExceeded", "activeDeadlineSeconds of the kernelspec's pod.yaml has passed",
     "Start the kernel again; the administrator sets how long one may run."},
    {"Evicted", "the pod had to leave its node",
     "What the kernel had in memory is lost: its cells have to be run again."},
    {"Preempted", "a pod of a higher priority needed the room",
     "What the kernel had in memory is lost: its cells have to be run again."},
    {"NodeLost", "the pod's node does not answer or is gone",
     "What the kernel had in memory is lost: its cells have to be run again."},
    {"NodeShutdown", "the pod's node is being shut down",
     "What the kernel had in memory is lost: its cells have to be run again."},
    {"NodeRefused", "the node did not take the pod that the scheduler gave it",
     "Start the kernel again if that does not happen by itself."},
    {"PodDeleted", "somebody deleted the pod, such as with kubectl delete pod",
     "What the kernel had in memory is lost: its cells have to be run again."},
    {"PodEnded", "the pod has ended in good order", "Restart starts the kernel again."},
    {"ContainerEnded", "the kernel's container has ended and is not started again in its pod",
     "What the kernel had in memory is lost: its cells have to be run again."},
    /* What the API server refused. */
    {"QuotaExceeded", "the namespace's ResourceQuota has no room",
     "Ask for less, shut down kernels that are not needed, or ask the administrator for more."},
    {"QuotaNeedsAmounts", "the namespace's ResourceQuota wants amounts that the pod does not say",
     "Say them with KERNEL_CPUS, KERNEL_MEMORY and their _LIMIT, or in the kernelspec's pod.yaml; "
     "a "
     "LimitRange of the namespace can give defaults."},
    {"LimitRange", "the namespace's LimitRange does not allow the amounts",
     "Ask for an amount within the limits (KERNEL_CPUS, KERNEL_MEMORY and their _LIMIT)."},
    {"PodSecurity", "the namespace's Pod Security Standard forbids the pod",
     "The kernelspec's pod.yaml asks for more than the namespace allows: correct it, or ask for a "
     "namespace that allows it."},
    {"AdmissionDenied", "an admission webhook or policy of the cluster said no",
     "Its sentence says what it wants; the administrator of the cluster knows the policy."},
    {"Forbidden", "the gateway's service account lacks a right",
     "The administrator has to add it to the gateway's Role (manifests/)."},
    {"Unauthorized", "the API server does not know the gateway's token or certificate",
     "The administrator has to look at the gateway's credentials."},
    {"NamespaceMissing", "the namespace is not there",
     "The administrator has to make it, or correct the gateway's setting or KERNEL_NAMESPACE."},
    {"NamespaceEnding", "the namespace is being deleted", "Start the kernel again in a while."},
    {"ServiceAccountMissing", "the service account is not there",
     "The administrator has to make it in the namespace, or correct the kernelspec's pod.yaml or "
     "KERNEL_SERVICE_ACCOUNT_NAME."},
    {"ClassMissing", "a PriorityClass or RuntimeClass is not there",
     "Correct priorityClassName or runtimeClassName in the kernelspec's pod.yaml, or ask the "
     "administrator to make it."},
    {"InvalidObject", "the API server says that a field is wrong",
     "Correct the field in the kernelspec's pod.yaml or in the request."},
    {"AlreadyExists", "an object of that name is there that is not ours",
     "Delete it, or choose another name (KERNEL_POD_NAME)."},
    {"ApiUnavailable",
     "the API server cannot be reached, is overloaded, or something else answers in its place",
     "Start the kernel again in a while, and tell the administrator if that does not help."},
    {"ApiRefused", "the API server said no, and nothing above fits",
     "Ask the administrator; the sentence is the API server's."},
};

enum { ROWS = sizeof rows / sizeof *rows };

const struct kube_reason *kube_reason_find(const char *word) {
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].word, word) == 0)
            return &rows[i];
    return NULL;
}

const char *kube_reason_word(const char *word) {
    const struct kube_reason *reason = kube_reason_find(word);
    return reason != NULL ? reason->word : NULL;
}

const struct kube_reason *kube_reason_at(size_t index) {
    return index < ROWS ? &rows[index] : NULL;
}

void kube_reason_write(const char *word, const char *cause, char *text, size_t size) {
    const struct kube_reason *reason = kube_reason_find(word);
    const char *advice = reason != NULL ? reason->advice : "";
    size_t reserved = strlen(advice) + 3; /* ". " and the NUL */
    kube_text_clean(cause, text, size > reserved ? size - reserved + 1 : size);
    size_t length = strlen(text);
    if (length == 0 || length + reserved > size)
        return;
    if (text[0] >= 'a' && text[0] <= 'z' && strchr(" ,", text[strcspn(text, " ,:/=\"")]) != NULL)
        text[0] = (char)(text[0] - 'a' + 'A'); /* a word, not a path or a field */
    if (!text_ends_with(text, "..."))
        text[length++] = '.';
    if (*advice != '\0')
        text[length++] = ' ';
    memcpy(text + length, advice, strlen(advice) + 1);
}
