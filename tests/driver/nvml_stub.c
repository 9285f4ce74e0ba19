/* A stand-in for NVIDIA's management library: the part that nvidia-ml-py and Ray call.
 *
 * Built with the soname libnvidia-ml.so.1 and put on LD_LIBRARY_PATH, it serves cards that exist
 * only in a state file, so that tests need no card. The environment variable NVML_STUB_STATE names
 * the file. It is read again whenever it changes; writers replace it by rename. Lines:
 *
 *   driver=575.57.08            count=2               absent=nvmlDeviceGetTemperatureV,...
 *   card0.uuid=GPU-...          card0.name=...        card0.lost=1
 *   card0.unsupported=temp,...  card0.hang=1          card0.temp=45   (see set_card for all keys)
 *
 * No file: no driver. A function named in "absent" answers as one that an old driver lacks; one
 * that is not defined here is truly missing. A hanging card's calls wait until the state lets them
 * go, or HANG_LIMIT_MS has passed.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  OK = 0,
  UNINITIALIZED = 1,
  INVALID_ARGUMENT = 2,
  NOT_SUPPORTED = 3,
  NOT_FOUND = 6,
  INSUFFICIENT_SIZE = 7,
  DRIVER_NOT_LOADED = 9,
  TIMEOUT = 10,
  FUNCTION_NOT_FOUND = 13,
  GPU_IS_LOST = 15,
  VERSION_MISMATCH = 25,
};
enum { MAX_CARDS = 16, TEXT = 96, HANG_LIMIT_MS = 30000, HANG_STEP_MS = 5 };
#define MEMORY_V2 0x02000028u
#define TEMPERATURE_V1 0x0100000Cu

typedef struct {
  char uuid[TEXT], name[TEXT], unsupported[TEXT];
  int lost, hang, temp;
  unsigned util, mem_util, power_mw, limit_mw, sm_mhz, mem_mhz;
  unsigned long long mem_used, mem_total, mem_reserved;
} Card;

typedef struct {
  char driver[TEXT], absent[4 * TEXT];
  unsigned count;
  Card card[MAX_CARDS];
} State;

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned version; int sensor; int temperature; } TemperatureV1;
typedef void *Device;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static State state;
static struct stat seen;
static int loaded, users;

static void copy(char *to, size_t size, const char *from) { snprintf(to, size, "%s", from); }

static void set_card(Card *c, const char *key, const char *value) {
  const unsigned long long n = strtoull(value, NULL, 10);
  if (!strcmp(key, "uuid")) copy(c->uuid, TEXT, value);
  else if (!strcmp(key, "name")) copy(c->name, TEXT, value);
  else if (!strcmp(key, "unsupported")) copy(c->unsupported, TEXT, value);
  else if (!strcmp(key, "lost")) c->lost = (int)n;
  else if (!strcmp(key, "hang")) c->hang = (int)n;
  else if (!strcmp(key, "temp")) c->temp = atoi(value);
  else if (!strcmp(key, "util")) c->util = (unsigned)n;
  else if (!strcmp(key, "mem_util")) c->mem_util = (unsigned)n;
  else if (!strcmp(key, "power_mw")) c->power_mw = (unsigned)n;
  else if (!strcmp(key, "limit_mw")) c->limit_mw = (unsigned)n;
  else if (!strcmp(key, "sm_mhz")) c->sm_mhz = (unsigned)n;
  else if (!strcmp(key, "mem_mhz")) c->mem_mhz = (unsigned)n;
  else if (!strcmp(key, "mem_used")) c->mem_used = n;
  else if (!strcmp(key, "mem_total")) c->mem_total = n;
  else if (!strcmp(key, "mem_reserved")) c->mem_reserved = n;
  else fprintf(stderr, "nvml_stub: unknown key of a card: %s\n", key);
}

static void set_line(State *s, char *line) {
  char *value = strchr(line, '=');
  if (!value) return;
  *value++ = '\0';
  value[strcspn(value, "\r\n")] = '\0';
  unsigned index;
  int used = 0;
  if (sscanf(line, "card%u.%n", &index, &used) == 1 && used && index < MAX_CARDS)
    set_card(&s->card[index], line + used, value);
  else if (!strcmp(line, "count")) s->count = (unsigned)atoi(value);
  else if (!strcmp(line, "driver")) copy(s->driver, sizeof s->driver, value);
  else if (!strcmp(line, "absent")) copy(s->absent, sizeof s->absent, value);
  else fprintf(stderr, "nvml_stub: unknown key: %s\n", line);
}

/* Reads the state file if it is another one than last time; called with the lock held. */
static void refresh(void) {
  const char *path = getenv("NVML_STUB_STATE");
  struct stat now;
  if (!path || stat(path, &now)) {
    loaded = 0;
    return;
  }
  if (loaded && now.st_ino == seen.st_ino && now.st_size == seen.st_size &&
      now.st_mtim.tv_sec == seen.st_mtim.tv_sec && now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
    return;
  FILE *file = fopen(path, "r");
  if (!file) {
    loaded = 0;
    return;
  }
  State fresh;
  memset(&fresh, 0, sizeof fresh);
  char line[512];
  while (fgets(line, sizeof line, file)) set_line(&fresh, line);
  fclose(file);
  if (fresh.count > MAX_CARDS) fresh.count = MAX_CARDS;
  state = fresh;
  seen = now;
  loaded = 1;
}

static int listed(const char *list, const char *word) {
  const size_t n = strlen(word);
  for (const char *at = list; (at = strstr(at, word)); at += n) {
    const int starts = at == list || at[-1] == ',';
    if (starts && (at[n] == '\0' || at[n] == ',')) return 1;
  }
  return 0;
}

/* What stands in the way of a call of this function at all; the lock is held. */
static int blocked(const char *function) {
  refresh();
  if (!loaded) return DRIVER_NOT_LOADED;
  if (!users) return UNINITIALIZED;
  return listed(state.absent, function) ? FUNCTION_NOT_FOUND : OK;
}

/* Waits while the card hangs; the lock is held, but not during the waits. */
static int wait_for_card(unsigned index) {
  for (int waited = 0; loaded && state.card[index].hang; waited += HANG_STEP_MS) {
    if (waited >= HANG_LIMIT_MS) return TIMEOUT;
    pthread_mutex_unlock(&lock);
    usleep(HANG_STEP_MS * 1000);
    pthread_mutex_lock(&lock);
    refresh();
  }
  return loaded ? OK : DRIVER_NOT_LOADED;
}

/* Copies the card behind a handle; handles are index + 1, so that none is NULL. */
static int look(Device device, const char *function, const char *signal, Card *out) {
  const unsigned index = (unsigned)(size_t)device - 1u;
  pthread_mutex_lock(&lock);
  int result = blocked(function);
  if (!result && index >= state.count) result = INVALID_ARGUMENT;
  if (!result) result = wait_for_card(index);
  if (!result && state.card[index].lost) result = GPU_IS_LOST;
  if (!result && signal && listed(state.card[index].unsupported, signal)) result = NOT_SUPPORTED;
  if (!result) *out = state.card[index];
  pthread_mutex_unlock(&lock);
  return result;
}

static int give_text(const char *text, char *out, unsigned size) {
  if (strlen(text) + 1 > size) return INSUFFICIENT_SIZE;
  copy(out, size, text);
  return OK;
}

int nvmlInitWithFlags(unsigned flags) {
  (void)flags;
  pthread_mutex_lock(&lock);
  refresh();
  const int result = loaded ? OK : DRIVER_NOT_LOADED;
  if (!result) users++;
  pthread_mutex_unlock(&lock);
  return result;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
  pthread_mutex_lock(&lock);
  const int result = users ? OK : UNINITIALIZED;
  if (users) users--;
  pthread_mutex_unlock(&lock);
  return result;
}

const char *nvmlErrorString(int result) {
  (void)result;
  return "error of the stand-in driver";
}

int nvmlSystemGetDriverVersion(char *out, unsigned size) {
  pthread_mutex_lock(&lock);
  int result = blocked(__func__);
  if (!result) result = give_text(state.driver, out, size);
  pthread_mutex_unlock(&lock);
  return result;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
  pthread_mutex_lock(&lock);
  const int result = blocked(__func__);
  if (!result) *count = state.count;
  pthread_mutex_unlock(&lock);
  return result;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
  pthread_mutex_lock(&lock);
  int result = blocked(__func__);
  if (!result && index >= state.count) result = INVALID_ARGUMENT;
  if (!result && state.card[index].lost) result = GPU_IS_LOST;
  if (!result) *device = (Device)(size_t)(index + 1u);
  pthread_mutex_unlock(&lock);
  return result;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Device *device) {
  pthread_mutex_lock(&lock);
  int result = blocked(__func__);
  if (!result) {
    result = NOT_FOUND;
    for (unsigned i = 0; i < state.count; i++) {
      if (strcmp(state.card[i].uuid, uuid)) continue;
      result = state.card[i].lost ? GPU_IS_LOST : OK;
      *device = (Device)(size_t)(i + 1u);
    }
  }
  pthread_mutex_unlock(&lock);
  return result;
}

int nvmlDeviceGetIndex(Device device, unsigned *out) {
  Card card;
  const int result = look(device, __func__, NULL, &card);
  if (!result) *out = (unsigned)(size_t)device - 1u;
  return result;
}

int nvmlDeviceGetMinorNumber(Device device, unsigned *out) {
  return nvmlDeviceGetIndex(device, out);
}

int nvmlDeviceGetName(Device device, char *out, unsigned size) {
  Card card;
  const int result = look(device, __func__, NULL, &card);
  return result ? result : give_text(card.name, out, size);
}

int nvmlDeviceGetUUID(Device device, char *out, unsigned size) {
  Card card;
  const int result = look(device, __func__, NULL, &card);
  return result ? result : give_text(card.uuid, out, size);
}

int nvmlDeviceGetMemoryInfo(Device device, Memory *out) {
  Card card;
  const int result = look(device, __func__, "mem", &card);
  if (result) return result;
  out->total = card.mem_total;
  out->used = card.mem_used + card.mem_reserved; /* the first version counts it as used */
  out->free = card.mem_total - out->used;
  return OK;
}

int nvmlDeviceGetMemoryInfo_v2(Device device, MemoryV2 *out) {
  Card card;
  const int result = look(device, __func__, "mem", &card);
  if (result) return result;
  if (out->version != MEMORY_V2) return VERSION_MISMATCH;
  out->total = card.mem_total;
  out->reserved = card.mem_reserved;
  out->used = card.mem_used;
  out->free = card.mem_total - card.mem_used - card.mem_reserved;
  return OK;
}

int nvmlDeviceGetUtilizationRates(Device device, Utilization *out) {
  Card card;
  const int result = look(device, __func__, "util", &card);
  if (result) return result;
  out->gpu = card.util;
  out->memory = card.mem_util;
  return OK;
}

int nvmlDeviceGetTemperatureV(Device device, TemperatureV1 *out) {
  Card card;
  const int result = look(device, __func__, "temp", &card);
  if (result) return result;
  if (out->version != TEMPERATURE_V1) return VERSION_MISMATCH;
  if (out->sensor != 0) return INVALID_ARGUMENT;
  out->temperature = card.temp;
  return OK;
}

int nvmlDeviceGetTemperature(Device device, int sensor, unsigned *out) {
  Card card;
  const int result = look(device, __func__, "temp", &card);
  if (result) return result;
  if (sensor != 0) return INVALID_ARGUMENT;
  *out = (unsigned)card.temp;
  return OK;
}

int nvmlDeviceGetPowerUsage(Device device, unsigned *out) {
  Card card;
  const int result = look(device, __func__, "power", &card);
  if (!result) *out = card.power_mw;
  return result;
}

int nvmlDeviceGetEnforcedPowerLimit(Device device, unsigned *out) {
  Card card;
  const int result = look(device, __func__, "limit", &card);
  if (!result) *out = card.limit_mw;
  return result;
}

int nvmlDeviceGetPowerManagementLimit(Device device, unsigned *out) {
  Card card;
  const int result = look(device, __func__, "limit", &card);
  if (!result) *out = card.limit_mw;
  return result;
}

int nvmlDeviceGetClockInfo(Device device, int type, unsigned *out) {
  Card card;
  const char *signal = type == 1 ? "sm" : type == 2 ? "memclock" : NULL; /* SM, MEM */
  const int result = look(device, __func__, signal, &card);
  if (result) return result;
  if (!signal) return INVALID_ARGUMENT;
  *out = type == 1 ? card.sm_mhz : card.mem_mhz;
  return OK;
}
