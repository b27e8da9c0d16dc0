// awake: runs a program with its core kept from sleeping.
//
//   awake CPU PROGRAM [ARGUMENT]...
//
// A child pinned to CPU does nothing all the time at the lowest priority that there is (SCHED_IDLE): it runs only where the
// core would sleep, gives way at once, and touches no memory. So what a relay costs more without it is the price of a core that
// wakes up, not of the relay. The program takes this process's place and its session, which the scheduler weighs as one; the
// child ends with it and is no part of its CPU time. (It looks for itself whether its parent is there: one that is confined by
// Landlock can't let a signal out, not even by its death.)
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "awake CPU PROGRAM [ARGUMENT]...\n");
    return 2;
  }
  cpu_set_t core;
  CPU_ZERO(&core);
  CPU_SET(static_cast<unsigned>(std::atoi(argv[1])), &core);
  const pid_t program = getpid(), child = fork();
  if (child < 0) {
    std::perror("awake: fork");
    return 1;
  }
  if (child == 0) {
    const sched_param none{};
    if (sched_setaffinity(0, sizeof core, &core) != 0 || sched_setscheduler(0, SCHED_IDLE, &none) != 0) {
      std::perror("awake");
      return 1;
    }
    while (getppid() == program)
      for (int i = 0; i < 100'000'000; i++) asm volatile("");
    return 0;
  }
  execvp(argv[2], argv + 2);
  std::perror("awake: exec");
  return 1;
}
