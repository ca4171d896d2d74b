/* The limit of spawning: limit COUNT JOBS [FILE] runs /bin/true COUNT times, JOBS at a time, and nothing else.
   With FILE, a line is appended and flushed for each end: the least that a durable run can do. */
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 1000, jobs = argc > 2 ? atoi(argv[2]) : 1, running = 0;
    int file = argc > 3 ? open(argv[3], O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    char *command[] = {"/bin/true", NULL};
    for (int started = 0; started < count || running;) {
        if (started < count && running < jobs) {
            pid_t pid;
            if (posix_spawn(&pid, command[0], NULL, NULL, command, environ)) return 1;
            started++, running++;
        } else {
            int status;
            if (wait(&status) < 0 || status) return 1;
            if (file >= 0 && (write(file, "done\n", 5) != 5 || fdatasync(file))) return 1;
            running--;
        }
    }
    return 0;
}
