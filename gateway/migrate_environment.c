#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/migrate.h"

#include <ctype.h>
#include <string.h>

static bool is_setting(const char *name) {
    return text_starts_with(name, "EG_") || text_starts_with(name, "KG_") ||
           text_starts_with(name, "ELARA_");
}

/* What Kubernetes sets for Services called eg... or kg... */
static bool is_of_service(const char *name) {
    return strstr(name, "_SERVICE_HOST") != NULL || strstr(name, "_SERVICE_PORT") != NULL ||
           (strstr(name, "_PORT_") != NULL && strstr(name, "_TCP") != NULL);
}

void migrate_process(struct migration *migration, char *const *environment) {
    for (; *environment != NULL; environment++) {
        size_t length = strcspn(*environment, "=");
        cleanup_free char *name = memory_strndup(*environment, length);
        if ((*environment)[length] == '=' && is_setting(name) &&
            !text_starts_with(name, "ELARA_") && !is_of_service(name))
            migration_set_text(migration, name, *environment + length + 1, name, "this environment",
                               MIGRATE_ENVIRONMENT);
    }
}

/* The value of a line as a shell or docker reads it: quotes around it go, with what follows the
 * second one; without quotes a # behind a blank begins a comment. In place. */
static char *unquote(char *value) {
    value += strspn(value, " \t");
    char quote = *value;
    if (quote == '"' || quote == '\'') {
        char *end = strchr(value + 1, quote);
        size_t rest = end != NULL ? strspn(end + 1, " \t;\r") : 0;
        /* 'a','b' is a list of JEG's start script, no quoted text. */
        if (end != NULL && (end[1 + rest] == '\0' || end[1 + rest] == '#')) {
            *end = '\0';
            return value + 1;
        }
    }
    for (char *at = value; *at != '\0'; at++)
        if (*at == '#' && at > value && isblank((unsigned char)at[-1]))
            *at = '\0';
    for (size_t length = strlen(value); length > 0 && isspace((unsigned char)value[length - 1]);)
        value[--length] = '\0';
    return value;
}

/* line: ours to change. */
static void read_line(struct migration *migration, char *line, const char *where) {
    line += strspn(line, " \t\r");
    if (text_starts_with(line, "export "))
        line += strspn(line + 7, " \t") + 7;
    size_t length = strcspn(line, "= \t\r");
    if (*line == '\0' || *line == '#')
        return;
    if (line[length] != '=' || length == 0) {
        cleanup_free char *shown = memory_strndup(line, length);
        migration_trouble(migration, shown, where, "is no line of NAME=value");
        return;
    }
    line[length] = '\0';
    if (!is_setting(line) || is_of_service(line))
        return; /* of the container, of kernels: they stay what they are */
    migration_set_text(migration, line, unquote(line + length + 1), line, where,
                       MIGRATE_ENVIRONMENT);
}

void migrate_environment(struct migration *migration, const char *text, const char *name) {
    cleanup_free char *copy = memory_strdup(text);
    char *rest = copy;
    int number = 0;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        cleanup_free char *where = memory_printf("%s:%d", name, ++number);
        read_line(migration, line, where);
    }
}
