/* Errors: a class for the machine and one bounded text for the person.
 *
 * A function that can fail takes `struct error *err` as its last parameter, returns -1 on failure
 * and leaves err untouched on success. Leaf code returns, the module's edge logs once. err may be
 * NULL everywhere. */
#pragma once

enum error_code {
    ERROR_NONE = 0,
    ERROR_INVALID,     /* their input is malformed; the text names the field and the fix */
    ERROR_NOT_FOUND,   /* no such thing */
    ERROR_EXISTS,      /* there is one already */
    ERROR_DENIED,      /* not allowed */
    ERROR_CHANGED,     /* it is no longer as the order took it to be */
    ERROR_LIMIT,       /* a limit was reached */
    ERROR_BUSY,        /* this client has too much under way; trying again may help */
    ERROR_UNAVAILABLE, /* not now; trying again may help */
    ERROR_TIMEOUT,     /* took too long */
    ERROR_UNSUPPORTED, /* understood, but not something we do */
    ERROR_SYSTEM,      /* the operating system or a library said no */
};

struct error {
    enum error_code code;
    int errnum;        /* of error_system; 0: it was something else */
    const char *cause; /* the word of a table of causes (kube_reasons.h), static; NULL: none */
    char text[1024];
};

/* Each returns -1, so that a failure is one statement: return error_set(err, ERROR_INVALID,
 * ...); */
int error_set(struct error *err, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with ": " and the text of errnum behind it; the code is ERROR_SYSTEM. */
int error_system(struct error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the text that err holds; the code stays. */
int error_wrap(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The name of the code in lower case ("not_found"), as it is used on the kernel link. */
const char *error_code_name(enum error_code code);

/* The code of a name; ERROR_SYSTEM for a name nobody knows. */
enum error_code error_code_parse(const char *name);
