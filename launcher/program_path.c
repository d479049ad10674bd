#include "launcher/program_path.h"

#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool program_is_python(const char *name) {
    if (!text_starts_with(name, "python"))
        return false;
    name += 6;
    if (*name == '\0' || strcmp(name, "3") == 0)
        return true;
    if (!text_starts_with(name, "3.") || name[2] == '\0')
        return false;
    return name[2 + strspn(name + 2, "0123456789")] == '\0';
}

char *program_find(const char *path, const char *name) {
    while (path != NULL && *path != '\0') {
        size_t length = strcspn(path, ":");
        if (length > 0 && path[0] == '/') { /* relative entries would mean the kernel's directory */
            char *file = memory_printf("%.*s/%s", (int)length, path, name);
            if (access(file, X_OK) == 0)
                return file;
            free(file);
        }
        path += length;
        path += *path == ':';
    }
    return NULL;
}

char *program_find_python(const char *path, const char *name) {
    char *found = program_find(path, name);
    return found != NULL ? found : program_find(path, "python3");
}
