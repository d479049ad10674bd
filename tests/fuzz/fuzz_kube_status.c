/* Any JSON as a pod and its events, a record Secret and a refusal: a verdict with a stage or a
 * reason of the table, texts that end and are UTF-8, and no record without an id. */
#include "base/utf8.h"
#include "launcher/kube_objects.h"
#include "launcher/kube_reasons.h"
#include "launcher/kube_status.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_verdict(const struct kube_pod_verdict *verdict) {
    assert(utf8_is_valid(verdict->stage, strlen(verdict->stage)));
    assert(utf8_is_valid(verdict->message, strlen(verdict->message)));
    assert(verdict->judge_again_ms >= 0);
    if (verdict->state == KUBE_POD_PENDING || verdict->state == KUBE_POD_RUNNING)
        assert(verdict->stage[0] != '\0' && verdict->reason[0] == '\0');
    else
        assert(kube_reason_find(verdict->reason) != NULL && verdict->message[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *json = json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL);
    const json_t *pod = json_is_object(json) ? json_object_get(json, "pod") : NULL;
    const json_t *events = json_is_object(json) ? json_object_get(json, "events") : NULL;
    struct kube_pod_verdict verdict;
    static const int64_t times[] = {0, 1795255200000, 1795255800000};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        kube_pod_judge(pod, events, times[i], NULL, &verdict);
        check_verdict(&verdict);
    }
    struct kube_refusal refusal;
    kube_refusal_explain(403, pod, NULL, "the pod", &refusal);
    assert(kube_reason_find(refusal.reason) != NULL && refusal.message[0] != '\0');
    struct kube_record *record = NULL;
    if (kube_record_read(pod, &record, NULL) == 0)
        assert(record->kernel_id != NULL && json_is_object(record->record));
    kube_record_free(record);
    json_decref(json);
    return 0;
}
