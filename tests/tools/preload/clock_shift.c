/* LD_PRELOAD: the wall clock as CLOCK_SHIFT_FILE has it, which holds how many seconds it is ahead.
 * For tests of what happens when somebody sets the clock. DATE_SHIFT_FILE does the same for the
 * dates of HTTP answers: with both, time has passed for the server as well. */
#include <curl/curl.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *ret);
int gettimeofday(struct timeval *restrict ret, void *restrict zone);
time_t time(time_t *ret);

static long shift_of(const char *variable) {
    const char *path = getenv(variable);
    char text[32] = "";
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    return length > 0 ? strtol(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *ret) {
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, ret);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        ret->tv_sec += shift_of("CLOCK_SHIFT_FILE");
    return result;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *ret) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret != NULL)
        *ret = now.tv_sec;
    return now.tv_sec;
}

time_t curl_getdate(const char *text, const time_t *unused) {
    static time_t (*real)(const char *, const time_t *);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "curl_getdate");
    time_t date = real(text, unused);
    return date < 0 ? date : date + shift_of("DATE_SHIFT_FILE");
}
