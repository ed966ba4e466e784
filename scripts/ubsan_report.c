/* UBSan cannot write to a file as AddressSanitizer can, and a worker's standard error may be nobody's: each report is
 * also appended to $UBSAN_REPORTS/ubsan.<pid>. Preloaded between the two runtimes by scripts/sanitized. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void __ubsan_get_current_report_data(const char **kind, const char **message, const char **file, unsigned *line,
                                     unsigned *column, char **address);

void __ubsan_on_report(void) {
    const char *folder = getenv("UBSAN_REPORTS"), *kind, *message, *file;
    unsigned line, column;
    char *address, path[4096];
    if (folder == NULL)
        return;
    __ubsan_get_current_report_data(&kind, &message, &file, &line, &column, &address);
    snprintf(path, sizeof(path), "%s/ubsan.%d", folder, (int)getpid());
    FILE *out = fopen(path, "a");
    if (out != NULL) {
        fprintf(out, "%s:%u:%u: %s: %s\n", file, line, column, kind, message);
        fclose(out);
    }
}
