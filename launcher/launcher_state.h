/* What the files of the launcher share. Nobody else includes this.
 *
 *   launcher.c          creation, the loop, signals, phases, status, record
 *   launcher_resume.c   going on after an earlier launcher's death
 *   launcher_kernel.c   the kernel process's life: start, ready, end, again
 *   launcher_ending.c   the steps of a shutdown or restart
 *   launcher_traffic.c  messages from and to the kernel, and what the launcher says itself
 *   launcher_activity.c what is done with the kernel, and since when
 *   launcher_commands.c COMMANDs of gateways */
#pragma once

#include "base/buffer.h"
#include "launcher/activity.h"
#include "launcher/busy.h"
#include "launcher/connection_file.h"
#include "launcher/exit_reason.h"
#include "launcher/kernel_channels.h"
#include "launcher/kernel_output.h"
#include "launcher/kernel_process.h"
#include "launcher/launch.h"
#include "launcher/launcher.h"
#include "launcher/link_server.h"
#include "launcher/oom_score.h"
#include "launcher/oom_watch.h"
#include "launcher/readiness.h"
#include "launcher/request_table.h"
#include "launcher/restart_policy.h"

#include <czmq.h>
#include <stdbool.h>
#include <stdint.h>

enum phase {
    PHASE_STARTING,
    PHASE_READY,
    PHASE_RESTARTING,
    PHASE_STOPPING,
    PHASE_DEAD,
};

enum phase_event {
    EVENT_READY,   /* the kernel answers */
    EVENT_RESTART, /* it is started again, asked for or not */
    EVENT_FAILED,  /* it is not started again */
    EVENT_STOP,    /* a shutdown begins */
    EVENT_STOPPED, /* and is over */
};

/* Why the running process is being ended, if it is. */
enum ending {
    ENDING_NONE,
    ENDING_RESTART,
    ENDING_SHUTDOWN,
    ENDING_TOLD,    /* by a signal, as when the machine shuts down: the launcher ends, too, and the
                       kernel stays dead */
    ENDING_TIMEOUT, /* it never answered */
};

enum {
    TOKEN_SIZE = 33,
    WAITERS_MAX = 64,
    CELL_HEADER_MAX = 64 << 10,
    HELD_MAX_BYTES = 1 << 20,
    PAYLOAD_MAX = 512 << 20,
    SCRATCH_KEEP_BYTES = 256 << 10,
    REASON_SIZE = 6144, /* a sentence and the last lines */
};

/* COMMANDs that get one common RESULT. */
struct waiters {
    struct link_command *commands[WAITERS_MAX];
    size_t count;
};

/* The cell that runs, or ran last: notices belong there. */
struct cell {
    struct buffer header; /* of its execute_request, as the kernel repeated it */
    uint64_t id;          /* hash of its msg_id */
    bool is_running;
};

/* What an earlier launcher of this directory left. */
struct resume {
    struct launcher_succession wanted;
    bool is_due;
    bool was_dead; /* its kernel was, or was being ended: that is no news */
    bool starts;   /* the kernel is started again */
    char *reason;  /* of the launcher's end; NULL */
    int timer;     /* a gateway may know the reason better: until then nothing is told */
};

struct launcher {
    char *directory;
    int directory_fd; /* holds the lock that keeps a second launcher out */
    char *connection_path, *output_path, *record_path;
    bool is_container; /* as in launcher_settings */
    struct oom_score oom_score;
    struct launch *launch;
    json_t *record;
    zloop_t *loop;
    struct link_server *link;
    int signal_fd;
    bool is_finished;
    struct resume resume;

    /* phases and status (launcher.c) */
    enum phase phase;
    const char *stage;
    char *reason; /* why it is dead; NULL */
    int64_t restarts;
    bool is_status_dirty;
    bool has_activity; /* since the last status */
    int activity_timer, rest_timer;
    int64_t last_activity_us;
    int64_t idle_since_ms;
    struct activity activity;           /* launcher_activity.c */
    char *keep_by;                      /* who set its keep-alive mark */
    int64_t sampled_ms, sample_cost_ms; /* of all processes' CPU */

    /* the process (launcher_kernel.c, launcher_ending.c) */
    struct kernel_output *output;
    struct connection connection;
    bool is_connection_unwritten; /* its file is not there, or an earlier launcher's */
    struct kernel_wire *wire;
    struct restart_policy policy;
    struct kernel_process *process; /* NULL: there is none */
    struct kernel_channels *channels;
    zmq_pollitem_t output_item, report_item;
    bool watches_output, watches_report;
    struct error exec_error; /* code ERROR_NONE: the program runs, or nothing is known yet */
    bool has_exited;         /* reaped; its last messages are still awaited */
    int wait_status;
    struct oom_watch oom;
    int64_t process_started_ms;
    int64_t reaped_cpu_ms;
    struct readiness readiness;
    int probe_timer, launch_timer, relax_timer, taken_timer, settle_timer;
    int settle_rounds;
    bool had_messages; /* since the last look, of lost_timer or while settling */
    enum ending ending;
    int ending_step;
    int ending_timer, told_timer;
    int sweep_rounds;
    struct waiters restart_waiters, shutdown_waiters;

    /* messages (launcher_traffic.c) */
    struct request_table *requests;
    char own_session[TOKEN_SIZE];    /* of our own requests; what answers them is not published */
    char notice_session[TOKEN_SIZE]; /* of what we say, until the kernel's is known */
    char kernel_session[256];        /* the session in the headers of the kernel's messages */
    struct buffer scratch;
    struct buffer
        held; /* messages of a process that is not ready: u32 channel, session, length, bytes */
    struct busy *busy;
    int lost_timer; /* runs while the kernel has answered and still is busy */
    int quiet_rounds;
    struct cell cell;
    int absent_cells;    /* answered in the place of a dead kernel */
    uint64_t refused;    /* messages of clients that are not for the kernel */
    uint64_t unrouted;   /* answers that nobody waits for */
    uint64_t odd_states; /* status messages that clients do not understand */
    uint64_t lost_idles; /* said in the kernel's place */
};

/* --- launcher.c --- */
/* The one door for phases. */
void launcher_phase(struct launcher *launcher, enum phase_event event, const char *stage,
                    const char *reason);
void launcher_stage(struct launcher *launcher, const char *stage);
bool launcher_is_ready(const struct launcher *launcher);
const char *launcher_execution_state(const struct launcher *launcher);
/* Sends the status if it changed; at once with the turn's messages. */
void launcher_push_status(struct launcher *launcher);
void launcher_save_record(struct launcher *launcher);
void launcher_timer_set(struct launcher *launcher, int *timer, int64_t in_ms, zloop_timer_fn *run);
void launcher_timer_clear(struct launcher *launcher, int *timer);
/* The first line of each timer's function: false when it was ended or set anew meanwhile and means
 * nothing. */
bool launcher_timer_fired(int *timer, int fired);
void launcher_finish(struct launcher *launcher); /* the loop ends after this turn */

/* --- launcher_resume.c --- */
/* Reads from the record whether an earlier launcher was here, and ends what is left of its kernel.
 * Before the record is written. */
void launcher_resume_look(struct launcher *launcher);
/* In the place of launcher_kernel_start: answers what the earlier kernel left unanswered, and
 * starts another or stays dead. */
void launcher_resume_run(struct launcher *launcher);
/* Why the container ended, as the pod's status has it; NULL: nobody knows. Does nothing when it has
 * been told already, or there was nothing to tell. */
void launcher_resume_explain(struct launcher *launcher, const char *reason);
/* What a later launcher has to know, into the record. */
void launcher_resume_note(struct launcher *launcher);
/* Everything that the kernel starts bears a mark by which it can be found again. */
void launcher_resume_mark(struct launcher *launcher);

/* --- launcher_kernel.c --- */
/* A cell's output, replies and a status in the place of a kernel that is gone. */
void launcher_speak_for_dead(struct launcher *launcher, const char *reason, bool is_restarting);
int launcher_kernel_prepare(struct launcher *launcher, struct error *err);
void launcher_kernel_start(struct launcher *launcher);
void launcher_kernel_exited(struct launcher *launcher, int wait_status);
void launcher_kernel_check_ready(struct launcher *launcher);
void launcher_say_death(struct launcher *launcher, const char *reason, bool is_restarting);
/* Why it ended with its launcher, which was told to end. */
const char *launcher_told_reason(const struct launcher *launcher);
void launcher_kernel_release(struct launcher *launcher);
extern const struct kernel_channels_events launcher_channel_events;

/* --- launcher_ending.c --- */
/* Begins to end the process, or goes on with an ending in progress as one of this kind. Without a
 * process it is over at once. The first reason of a shutdown, or NULL, is told with the status. */
void launcher_end(struct launcher *launcher, enum ending ending, bool now, const char *reason);
/* The process has ended; what the ending was for goes on. */
void launcher_ended(struct launcher *launcher);
/* false: there are too many already. */
bool launcher_wait(struct waiters *waiters, struct link_command *command);
void launcher_answer(struct waiters *waiters, const struct error *err);

/* --- launcher_traffic.c --- */
bool launcher_take_request(void *context, session_number session, const void *message,
                           size_t length);
void launcher_answer_lost(void *context, session_number session, struct bytes header);
void launcher_take_message(void *context, enum kernel_channel channel,
                           const struct wire_message *message);
/* Our own request to the kernel; false when it could not be sent. content is stolen. */
bool launcher_ask(struct launcher *launcher, enum kernel_channel channel, const char *type,
                  json_t *content);
void launcher_publish_held(struct launcher *launcher);
/* To the cell that runs or ran last; to none in particular when there was none. */
void launcher_say(struct launcher *launcher, const char *text);
/* For link_server_events. */
void launcher_say_disk(void *context, int disk_errno);
void launcher_say_status(struct launcher *launcher, const char *execution_state);
/* Before the end of a process that is gone is told: in the cell that it had, though it never said
 * so. */
void launcher_begin_unbegun(struct launcher *launcher);
/* Ends the requests that wait for a reply of a process that is gone. */
void launcher_end_requests(struct launcher *launcher, const char *error_name, const char *text);
void launcher_forget_cells(struct launcher *launcher);
/* What is said from now on belongs to this cell. */
void launcher_point_at_cell(struct launcher *launcher, struct bytes header, bool is_running);

/* --- launcher_activity.c --- */
/* Looks at what the kernel is doing now; after whatever may have changed it. */
void launcher_activity_update(struct launcher *launcher);
/* A client's request has gone to the kernel. */
void launcher_activity_sent(struct launcher *launcher, const struct kernel_message *request);
/* The kernel has said something on iopub. */
void launcher_activity_heard(struct launcher *launcher, const char *type,
                             struct bytes parent_header);
void launcher_activity_sample(struct launcher *launcher); /* of the CPU */
/* The same at little cost, now and then: so that work is noticed close to when it was. */
void launcher_activity_glance(struct launcher *launcher);
json_t *launcher_activity_status(struct launcher *launcher);
void launcher_activity_note(struct launcher *launcher); /* into the record */
/* One that was dead is started: it is as old as a new one. */
void launcher_activity_renew(struct launcher *launcher);
/* Age and keep-alive mark go on where the record has them, and so does a death. */
void launcher_activity_resume(struct launcher *launcher, bool is_rebooted);
/* The COMMANDs `activity` and `keep`. */
void launcher_activity_run(struct launcher *launcher, const json_t *members,
                           struct link_command *command);
void launcher_activity_keep(struct launcher *launcher, const json_t *members,
                            struct link_command *command);

/* --- launcher_commands.c --- */
void launcher_take_command(void *context, const char *name, const json_t *members,
                           struct link_command *command);
int launcher_interrupt(struct launcher *launcher, struct error *err);
