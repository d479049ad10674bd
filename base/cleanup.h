/* Locals that clean up after themselves; ownership moves by an explicit steal. */
#pragma once

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_(void *pointer) {
    free(*(void **)pointer);
}
static inline void cleanup_close_(const int *fd) {
    if (*fd >= 0)
        close(*fd); /* never retried: on Linux the descriptor is gone whatever close says */
}
static inline void cleanup_fclose_(FILE **file) {
    if (*file != NULL)
        fclose(*file);
}
static inline void cleanup_json_(json_t **json) {
    json_decref(*json);
}

#define cleanup_free   __attribute__((cleanup(cleanup_free_)))
#define cleanup_close  __attribute__((cleanup(cleanup_close_)))
#define cleanup_fclose __attribute__((cleanup(cleanup_fclose_)))
#define cleanup_json   __attribute__((cleanup(cleanup_json_)))

static inline int steal_fd(int *fd) {
    int stolen = *fd;
    *fd = -1;
    return stolen;
}
/* steal(&pointer): gives the pointer away and leaves NULL. */
#define steal(pointer)                                                                             \
    ({                                                                                             \
        __typeof__(*(pointer)) stolen_ = *(pointer);                                               \
        *(pointer) = NULL;                                                                         \
        stolen_;                                                                                   \
    })
