#include "gateway/doctor.h"

#include "base/cleanup.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

static const char *const states[] = {
    [DOCTOR_OK] = "ok", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "fail"};

void doctor_tell(struct doctor *doctor, const char *check, enum doctor_state state, const char *fix,
                 char *text) {
    cleanup_free char *readable = utf8_repair(text);
    json_array_append_new(doctor->findings,
                          json_pack("{s:s, s:s, s:s, s:s}", "check", check, "state", states[state],
                                    "text", readable, "fix", fix));
    free(text);
}

size_t doctor_count(const struct doctor *doctor, enum doctor_state state) {
    size_t i, found = 0;
    json_t *finding;
    json_array_foreach(doctor->findings, i, finding) {
        const char *text = json_string_value(json_object_get(finding, "state"));
        found += strcmp(text, states[state]) == 0;
    }
    return found;
}
