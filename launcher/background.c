#include "launcher/background.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/memory.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct background {
    struct event_base *loop;
    int results[2]; /* a pipe: pointers to jobs that have run. It hands them over, too */
    struct event *result, *timer;
    struct list jobs; /* oldest first: that wait, that run, and that run for nobody any more */
    size_t count, running;
};

struct background_job {
    struct list_node node;
    struct background *background;
    struct background_work what;
    char *place;
    int64_t by_ms; /* monotonic; 0: no deadline */
    int results;
    bool is_running;
    bool is_wanted; /* done is to be called */
};

static void *run(void *context) {
    struct background_job *job = context;
    job->what.run(job->what.work);
    ssize_t written = write(job->results, &job, sizeof job);
    (void)written; /* it has room for all; without a reader the process is about to go */
    return NULL;
}

/* Signals are the loop's. */
static int start_thread(struct background_job *job) {
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, &attributes, run, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return failed;
}

static bool is_late(const struct background_job *job, int64_t now_ms) {
    return job->by_ms != 0 && now_ms >= job->by_ms;
}

/* The job that is at its place now; NULL: none. */
static const struct background_job *find_running(const struct background_job *wanted) {
    struct list *jobs = &wanted->background->jobs;
    list_each (jobs, const struct background_job, node, job)
        if (job->is_running && strcmp(job->place, wanted->place) == 0)
            return job;
    return NULL;
}

static void free_job(struct background_job *job) {
    list_remove(&job->node);
    job->background->count--;
    job->what.free(job->what.work);
    free(job->place);
    free(job);
}

/* What runs is freed when it has. May start and cancel others. */
static void give_up(struct background_job *job, const struct error *why) {
    void (*done)(void *, void *, const struct error *) = job->what.done;
    void *context = job->what.context;
    job->is_wanted = false;
    if (!job->is_running)
        free_job(job);
    done(context, NULL, why);
}

static void begin(struct background_job *job) {
    struct background *background = job->background;
    int failed = start_thread(job);
    if (failed != 0) {
        struct error err;
        error_system(&err, failed, "a thread for reading %s", job->place);
        err.code = ERROR_UNAVAILABLE;
        give_up(job, &err);
        return;
    }
    job->is_running = true;
    background->running++;
}

/* One that is to begin, or has waited for too long; *is_silent: that. */
static struct background_job *find_due(struct background *background, int64_t now_ms,
                                       bool *is_silent) {
    list_each (&background->jobs, struct background_job, node, job) {
        if (!job->is_wanted)
            continue;
        *is_silent = is_late(job, now_ms);
        if (*is_silent)
            return job;
        if (job->is_running)
            continue;
        const struct background_job *there = find_running(job);
        *is_silent = there != NULL && is_late(there, now_ms);
        if (*is_silent || (there == NULL && background->running < BACKGROUND_THREADS))
            return job;
    }
    return NULL;
}

static void arm(struct background *background, int64_t now_ms) {
    int64_t first_ms = 0;
    list_each (&background->jobs, struct background_job, node, job)
        if (job->is_wanted && job->by_ms != 0 && (first_ms == 0 || job->by_ms < first_ms))
            first_ms = job->by_ms;
    if (first_ms == 0)
        return;
    int64_t left_ms = first_ms > now_ms ? first_ms - now_ms : 0;
    struct timeval after = {.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
    event_add(background->timer, &after);
}

static void on_timer(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct background *background = context;
    int64_t now_ms = clock_monotonic_ms();
    struct background_job *job;
    bool is_silent;
    while ((job = find_due(background, now_ms, &is_silent)) != NULL) {
        struct error err;
        error_set(&err, ERROR_UNAVAILABLE, "The directory %.512s does not answer", job->place);
        if (is_silent)
            give_up(job, &err);
        else
            begin(job);
    }
    arm(background, now_ms);
}

static void on_result(evutil_socket_t fd, short what, void *context) {
    (void)what;
    struct background *background = context;
    struct background_job *job;
    if (read(fd, &job, sizeof job) != sizeof job)
        return;
    job->is_running = false;
    background->running--;
    event_active(background->timer, EV_TIMEOUT, 0); /* others may begin */
    if (job->is_wanted) {
        job->is_wanted = false;
        job->what.done(job->what.context, job->what.work, NULL);
    }
    free_job(job);
}

struct background *background_create(struct event_base *loop) {
    struct background *background = memory_alloc(sizeof *background);
    background->loop = loop;
    list_init(&background->jobs);
    if (pipe2(background->results, O_CLOEXEC) < 0)
        abort(); /* no descriptor at the very start: nothing can run */
    background->result =
        event_new(loop, background->results[0], EV_READ | EV_PERSIST, on_result, background);
    background->timer = evtimer_new(loop, on_timer, background);
    event_add(background->result, NULL);
    return background;
}

static struct background_job *first_wanted(struct background *background) {
    list_each (&background->jobs, struct background_job, node, job)
        if (job->is_wanted)
            return job;
    return NULL;
}

bool background_destroy(struct background *background) {
    if (background == NULL)
        return false;
    struct error err;
    error_set(&err, ERROR_UNAVAILABLE, "The gateway is ending");
    for (struct background_job *job; (job = first_wanted(background)) != NULL;)
        give_up(job, &err);
    event_free(background->result);
    event_free(background->timer);
    bool hangs = background->running > 0;
    close(background->results[0]);
    if (!hangs)
        close(background->results[1]);
    free(background);
    return hangs;
}

struct background_job *background_start(struct background *background,
                                        const struct background_work *what) {
    struct background_job *job = memory_alloc(sizeof *job);
    job->background = background;
    job->what = *what;
    job->place = memory_strdup(what->place);
    job->by_ms = what->deadline_ms > 0 ? clock_monotonic_ms() + what->deadline_ms : 0;
    if (background->count++ >= BACKGROUND_JOBS)
        job->by_ms = 1; /* too many wait already */
    job->results = background->results[1];
    job->is_wanted = true;
    list_append(&background->jobs, &job->node);
    event_active(background->timer, EV_TIMEOUT, 0);
    return job;
}

void background_cancel(struct background_job *job) {
    if (job == NULL)
        return;
    job->is_wanted = false;
    if (!job->is_running)
        free_job(job);
}
