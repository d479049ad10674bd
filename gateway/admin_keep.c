/* elara keep ID 4h */
#include "base/cleanup.h"
#include "base/option.h"
#include "gateway/admin.h"

#include <stdio.h>

int admin_keep(int argc, char **argv, struct error *err) {
    bool wants_json = option_take_flag(&argc, argv, "json", NULL);
    const char *start = admin_take_argument(&argc, argv);
    const char *how_long = admin_take_argument(&argc, argv);
    cleanup_free char *id = NULL;
    cleanup_json json_t *kept = NULL;
    if (start != NULL && how_long == NULL)
        return error_set(err, ERROR_INVALID, "for how long? elara keep ID 4h; 0 takes it back");
    cleanup_json json_t *body = json_pack("{s:s?}", "for", how_long);
    if (admin_ask_kernel(argc, argv, start, "POST", "/keep", body, &id, &kept, err) < 0)
        return -1;
    json_int_t keep_ms = json_integer_value(json_object_get(kept, "keep_ms"));
    cleanup_free char *text = admin_duration_at(kept, "keep_ms", "?");
    if (wants_json)
        admin_print_json(json_pack("{s:s, s:I}", "id", id, "keep_ms", keep_ms));
    else if (keep_ms > 0)
        printf("%s is kept for %s\n", id, text);
    else
        printf("%s is not kept any longer than the rules say\n", id);
    return 0;
}
