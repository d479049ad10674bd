#include "nfs/user_ids.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"

#include <string.h>

enum { FILE_MAX = 8 << 20, FIELDS = 4, ID_MAX = INT32_MAX };

/* Cuts the line into name, password, uid and gid. */
static int take_line(char *line, json_t *ids, struct error *err) {
    char *fields[FIELDS];
    int64_t uid, gid;
    for (size_t i = 0; i < FIELDS; i++) {
        fields[i] = strsep(&line, ":");
        if (fields[i] == NULL)
            return error_set(err, ERROR_INVALID, "must be NAME:x:UID:GID");
    }
    if (*fields[0] == '\0' || !utf8_is_valid(fields[0], strlen(fields[0])))
        return error_set(err, ERROR_INVALID, "must begin with a user's name");
    if (text_parse_int(fields[2], 0, ID_MAX, "the uid", &uid, err) < 0 ||
        text_parse_int(fields[3], 0, ID_MAX, "the gid", &gid, err) < 0)
        return -1;
    cleanup_free char *text = memory_printf("%lld:%lld", (long long)uid, (long long)gid);
    if (uid > 0 && gid > 0 && json_object_get(ids, fields[0]) == NULL) /* the first one counts */
        json_object_set_new(ids, fields[0], json_string(text));
    return 0;
}

int user_ids_read(const char *path, json_t **ret, struct error *err) {
    cleanup_buffer struct buffer text = {0};
    cleanup_json json_t *ids = json_object();
    size_t number = 0;
    if (file_read(path, FILE_MAX, &text, err) < 0)
        return -1;
    if (memchr(text.data, '\0', text.length) != NULL)
        return error_set(err, ERROR_INVALID, "%s: has a NUL in it", path);
    if (buffer_append(&text, "", 1) < 0)
        return error_set(err, ERROR_LIMIT, "%s: too long", path);
    char *rest = (char *)text.data;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        number++;
        if (*line != '\0' && *line != '#' && take_line(line, ids, err) < 0)
            return error_wrap(err, "%s line %zu", path, number);
    }
    *ret = steal(&ids);
    return 0;
}
