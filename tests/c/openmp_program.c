/* A program with OpenMP that loads the plugin and calls it before, within and after its own parallel regions.
 * Usage: openmp_program PLUGIN.so */
#include <dlfcn.h>
#include <omp.h>
#include <stdio.h>

typedef int (*Train)(double*);

int main(int argc, char** argv) {
  void* plugin = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
  Train train = NULL;
  if (plugin != NULL) *(void**)&train = dlsym(plugin, "plugin_train");
  if (train == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  double accuracy = 0.0;
  if (train(&accuracy) != 0 || accuracy != 1.0) return 2;
  int right = 0, threads = 0;
#pragma omp parallel num_threads(4) reduction(+ : right, threads)
  {
    double mine = 0.0;
    right += train(&mine) == 0 && mine == 1.0;
    threads += 1;
  }
  if (threads != 4 || right != 4) return 3;
  long sum = 0;
#pragma omp parallel for reduction(+ : sum)
  for (int i = 0; i < 1000; ++i) sum += i;
  if (sum != 499500 || train(&accuracy) != 0 || accuracy != 1.0) return 4;
  printf("%d threads\n", threads);
  return 0;
}
