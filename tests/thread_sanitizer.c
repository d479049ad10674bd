/* What ThreadSanitizer is told in a build with ELARA_SANITIZE_THREADS. libzmq, which is not built
 * with it, hands messages from thread to thread by atomics that it cannot see: what libzmq itself
 * calls does not count. What our own code does in our thread and, called back, in libzmq's does. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_options(void);

const char *__tsan_default_suppressions(void) {
    return "called_from_lib:libzmq.so\n";
}

const char *__tsan_default_options(void) {
    return "ignore_noninstrumented_modules=1";
}
