/* A stand-in for NVIDIA's management library: the part that nvidia-ml-py and Ray call.
 *
 * Built with the soname libnvidia-ml.so.1 and put on LD_LIBRARY_PATH, it serves cards that exist
 * only in a state file, so that tests need no card. The environment variable NVML_STUB_STATE names
 * the file. It is read again whenever it changes; writers replace it by rename. Lines:
 *
 *   driver=575.57.08      count=2       absent=nvmlDeviceGetTemperatureV,...
 *   init=18               serial=1
 *   card0.uuid=GPU-...    card0.name=...    card0.temp=45    (all keys: see TEXTS and NUMBERS)
 *   card0.lost=15         every call about the card answers this error
 *   card0.refuses=ecc:3,power:4   calls of these signals answer these errors
 *   card0.hang=all        every call about the card waits; or names of functions that do
 *   card0.processes=17:1048576,18:-   pid and bytes, - where the driver does not know
 *   card0.xids=79,48      all faults since the driver was loaded
 *   card0.instances=MIG-...,MIG-...   the parts that it is divided into
 *
 * No file: no driver. "init" is what nvmlInit answers. A function named in "absent" answers as one
 * that an old driver lacks; one that is not defined here is truly missing. A hanging call waits
 * until the state lets it go, or HANG_LIMIT_MS has passed; with "serial" it holds the driver's
 * lock meanwhile, and every other call waits behind it.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
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
  VERSION_MISMATCH = 25,
  UNKNOWN = 999,
};
enum { MAX_CARDS = 16, TEXT = 512, HANG_LIMIT_MS = 30000, STEP_MS = 5 };
enum { PART = 1000 }; /* handles of a card's parts are those of the card and so much more */
#define MEMORY_V2 0x02000028u
#define TEMPERATURE_V1 0x0100000Cu
#define MARGIN_V1 0x01000008u
#define XID_EVENT 8ull

typedef long long Number;
typedef struct {
  char uuid[TEXT], name[TEXT], bus_id[TEXT], refuses[TEXT], hang[TEXT], processes[TEXT], xids[TEXT];
  char instances[TEXT];
  Number lost, temp, mem_temp, margin, slowdown, shutdown, gpu_max;
  Number slowdown_offset, shutdown_offset, gpu_max_offset;
  Number util, mem_util, mem_used, mem_total, mem_reserved;
  Number power_mw, limit_mw, energy_mj, sm_mhz, mem_mhz, reasons, pstate, fan;
  Number ecc_corrected, ecc_uncorrected, ecc_corrected_total, ecc_uncorrected_total;
  Number rows_corrected, rows_uncorrected, rows_pending, rows_failed, replays, mig;
} Card;

typedef struct { const char *key; size_t offset; } Key;
#define KEY(name) {#name, offsetof(Card, name)}
static const Key TEXTS[] = {
    KEY(uuid), KEY(name), KEY(bus_id), KEY(refuses), KEY(hang), KEY(processes), KEY(xids),
    KEY(instances),
};
static const Key NUMBERS[] = {
    KEY(lost), KEY(temp), KEY(mem_temp), KEY(margin), KEY(slowdown), KEY(shutdown), KEY(gpu_max),
    KEY(slowdown_offset), KEY(shutdown_offset), KEY(gpu_max_offset),
    KEY(util), KEY(mem_util), KEY(mem_used), KEY(mem_total), KEY(mem_reserved),
    KEY(power_mw), KEY(limit_mw), KEY(energy_mj), KEY(sm_mhz), KEY(mem_mhz), KEY(reasons),
    KEY(pstate), KEY(fan), KEY(ecc_corrected), KEY(ecc_uncorrected), KEY(ecc_corrected_total),
    KEY(ecc_uncorrected_total), KEY(rows_corrected), KEY(rows_uncorrected), KEY(rows_pending),
    KEY(rows_failed), KEY(replays), KEY(mig),
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef struct {
  char driver[TEXT], absent[8 * TEXT];
  unsigned count;
  int init, serial;
  Card card[MAX_CARDS];
} State;

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned version; int sensor; int temperature; } TemperatureV1;
typedef struct { unsigned version; int margin; } MarginV1;
typedef struct { unsigned pid; unsigned long long bytes; unsigned instance, compute; } Process;
typedef struct {
  char bus_legacy[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char bus_id[32];
} Pci;
typedef struct {
  unsigned id, scope;
  int64_t timestamp, latency;
  unsigned type;
  int result;
  union { double d; unsigned ui; unsigned long ul; unsigned long long ull; long long sll; int si; } value;
} Field;
enum { UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3, SIGNED_INT = 5 };
typedef void *Device;
typedef struct { Device device; unsigned long long type, data; unsigned instance, compute; } Event;
/* For each card: whether it is watched, and how many of its faults were told. A lost card
 * spoils the set for good. After a registration that failed in an unknown way it may only be freed,
 * as nvml.h says. */
typedef struct { int watched[MAX_CARDS]; unsigned told[MAX_CARDS]; int spoilt, undefined; } EventSet;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static State state;
static struct stat seen;
static int loaded, users;

static void copy(char *to, size_t size, const char *from) { snprintf(to, size, "%s", from); }

static void set_card(Card *c, const char *key, const char *value) {
  for (size_t i = 0; i < COUNT(TEXTS); i++)
    if (!strcmp(key, TEXTS[i].key)) {
      if (strlen(value) >= TEXT) abort(); /* half a list would serve another card than meant */
      copy((char *)c + TEXTS[i].offset, TEXT, value);
      return;
    }
  for (size_t i = 0; i < COUNT(NUMBERS); i++)
    if (!strcmp(key, NUMBERS[i].key)) {
      *(Number *)((char *)c + NUMBERS[i].offset) = strtoll(value, NULL, 10);
      return;
    }
  fprintf(stderr, "nvml_stub: unknown key of a card: %s\n", key);
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
  else if (!strcmp(line, "init")) s->init = atoi(value);
  else if (!strcmp(line, "serial")) s->serial = atoi(value);
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
  static State fresh;
  memset(&fresh, 0, sizeof fresh);
  char line[9 * TEXT];
  while (fgets(line, sizeof line, file)) set_line(&fresh, line);
  fclose(file);
  if (fresh.count > MAX_CARDS) fresh.count = MAX_CARDS;
  state = fresh;
  seen = now;
  loaded = 1;
}

/* Where a word of a list ends, or NULL if the list does not have it. */
static const char *find_word(const char *list, const char *word) {
  const size_t n = strlen(word);
  for (const char *at = list; (at = strstr(at, word)); at += n) {
    const int starts = at == list || at[-1] == ',';
    if (starts && (at[n] == '\0' || at[n] == ',' || at[n] == ':')) return at + n;
  }
  return NULL;
}

/* What stands in the way of a call of this function at all; the lock is held. */
static int blocked(const char *function) {
  refresh();
  if (!loaded) return DRIVER_NOT_LOADED;
  if (!users) return UNINITIALIZED;
  return find_word(state.absent, function) ? FUNCTION_NOT_FOUND : OK;
}

/* Lets others in for a moment, unless the driver is one that holds its lock; the lock is held. */
static void pause_call(void) {
  const int serial = state.serial;
  if (!serial) pthread_mutex_unlock(&lock);
  usleep(STEP_MS * 1000);
  if (!serial) pthread_mutex_lock(&lock);
  refresh();
}

/* Waits while the card hangs in this function; the lock is held. */
static int wait_for_card(unsigned index, const char *function) {
  for (int waited = 0; loaded; waited += STEP_MS) {
    const char *hang = state.card[index].hang;
    if (!find_word(hang, "all") && !find_word(hang, function)) return OK;
    if (waited >= HANG_LIMIT_MS) return TIMEOUT;
    pause_call();
  }
  return DRIVER_NOT_LOADED;
}

/* What a card answers to a call about one of its signals, or about itself; the lock is held. */
static int answer(unsigned index, const char *function, const char *signal) {
  int result = blocked(function);
  if (!result && index >= state.count) result = INVALID_ARGUMENT;
  if (!result) result = wait_for_card(index, function);
  if (!result) result = (int)state.card[index].lost;
  if (result || !signal) return result;
  const char *code = find_word(state.card[index].refuses, signal);
  return code ? atoi(code + 1) : OK;
}

/* Copies the card behind a handle; handles are index + 1, so that none is NULL. */
static int look(Device device, const char *function, const char *signal, Card *out) {
  const unsigned index = (unsigned)(size_t)device - 1u;
  pthread_mutex_lock(&lock);
  const int result = answer(index, function, signal);
  if (!result) *out = state.card[index];
  pthread_mutex_unlock(&lock);
  return result;
}

static int give_text(const char *text, char *out, unsigned size) {
  if (strlen(text) + 1 > size) return INSUFFICIENT_SIZE;
  copy(out, size, text);
  return OK;
}

/* ---- the library, its cards, and who they are ---- */

int nvmlInitWithFlags(unsigned flags) {
  (void)flags;
  pthread_mutex_lock(&lock);
  refresh();
  int result = loaded ? state.init : DRIVER_NOT_LOADED;
  if (!result && find_word(state.absent, __func__)) result = FUNCTION_NOT_FOUND;
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
  const int result = answer(index, __func__, NULL);
  if (!result) *device = (Device)(size_t)(index + 1u);
  pthread_mutex_unlock(&lock);
  return result;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Device *device) {
  pthread_mutex_lock(&lock);
  int result = blocked(__func__);
  if (!result) {
    unsigned index = 0, part = 0;
    for (; index < state.count && strcmp(state.card[index].uuid, uuid); index++)
      if (find_word(state.card[index].instances, uuid)) {
        part = PART;
        break;
      }
    result = index < state.count ? answer(index, __func__, NULL) : NOT_FOUND;
    *device = (Device)(size_t)(part + index + 1u);
  }
  pthread_mutex_unlock(&lock);
  return result;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device part, Device *device) {
  const unsigned index = (unsigned)(size_t)part - PART - 1u; /* huge for a whole card */
  pthread_mutex_lock(&lock);
  const int result = answer(index, __func__, NULL);
  if (!result) *device = (Device)(size_t)(index + 1u);
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

int nvmlDeviceGetPciInfo_v3(Device device, Pci *out) {
  Card card;
  const int result = look(device, __func__, "pci", &card);
  if (result) return result;
  memset(out, 0, sizeof *out);
  return give_text(card.bus_id, out->bus_id, sizeof out->bus_id);
}

/* ---- signals ---- */

int nvmlDeviceGetMemoryInfo(Device device, Memory *out) {
  Card card;
  const int result = look(device, __func__, "mem", &card);
  if (result) return result;
  out->total = (unsigned long long)card.mem_total;
  /* The first version counts what is reserved as used. */
  out->used = (unsigned long long)(card.mem_used + card.mem_reserved);
  out->free = out->total - out->used;
  return OK;
}

int nvmlDeviceGetMemoryInfo_v2(Device device, MemoryV2 *out) {
  Card card;
  const int result = look(device, __func__, "mem", &card);
  if (result) return result;
  if (out->version != MEMORY_V2) return VERSION_MISMATCH;
  out->total = (unsigned long long)card.mem_total;
  out->reserved = (unsigned long long)card.mem_reserved;
  out->used = (unsigned long long)card.mem_used;
  out->free = out->total - out->used - out->reserved;
  return OK;
}

int nvmlDeviceGetUtilizationRates(Device device, Utilization *out) {
  Card card;
  const int result = look(device, __func__, "util", &card);
  if (result) return result;
  out->gpu = (unsigned)card.util;
  out->memory = (unsigned)card.mem_util;
  return OK;
}

int nvmlDeviceGetTemperatureV(Device device, TemperatureV1 *out) {
  Card card;
  const int result = look(device, __func__, "temp", &card);
  if (result) return result;
  if (out->version != TEMPERATURE_V1) return VERSION_MISMATCH;
  if (out->sensor != 0) return INVALID_ARGUMENT;
  out->temperature = (int)card.temp;
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

int nvmlDeviceGetMarginTemperature(Device device, MarginV1 *out) {
  Card card;
  const int result = look(device, __func__, "margin", &card);
  if (result) return result;
  if (out->version != MARGIN_V1) return VERSION_MISMATCH;
  out->margin = (int)card.margin;
  return OK;
}

int nvmlDeviceGetTemperatureThreshold(Device device, unsigned kind, unsigned *out) {
  Card card;
  const int result = look(device, __func__, "threshold", &card);
  if (result) return result;
  const Number value[] = {card.shutdown, card.slowdown, -1, card.gpu_max};
  if (kind >= COUNT(value)) return INVALID_ARGUMENT;
  if (value[kind] < 0) return NOT_SUPPORTED;
  *out = (unsigned)value[kind];
  return OK;
}

/* The calls that give one unsigned number of the card. */
#define GIVES(function, type, signal, field)        \
  int function(Device device, type *out) {          \
    Card card;                                      \
    const int result = look(device, __func__, signal, &card); \
    if (!result) *out = (type)card.field;           \
    return result;                                  \
  }
GIVES(nvmlDeviceGetPowerUsage, unsigned, "power", power_mw)
GIVES(nvmlDeviceGetEnforcedPowerLimit, unsigned, "limit", limit_mw)
GIVES(nvmlDeviceGetPowerManagementLimit, unsigned, "limit", limit_mw)
GIVES(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, "energy", energy_mj)
GIVES(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, "reasons", reasons)
GIVES(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, "reasons", reasons)
GIVES(nvmlDeviceGetPerformanceState, unsigned, "pstate", pstate)
GIVES(nvmlDeviceGetFanSpeed, unsigned, "fan", fan)
GIVES(nvmlDeviceGetPcieReplayCounter, unsigned, "replays", replays)

int nvmlDeviceGetClockInfo(Device device, int type, unsigned *out) {
  Card card;
  const char *signal = type == 1 ? "sm" : type == 2 ? "memclock" : NULL; /* SM, MEM */
  const int result = look(device, __func__, signal, &card);
  if (result) return result;
  if (!signal) return INVALID_ARGUMENT;
  *out = (unsigned)(type == 1 ? card.sm_mhz : card.mem_mhz);
  return OK;
}

int nvmlDeviceGetTotalEccErrors(Device device, int kind, int counter, unsigned long long *out) {
  Card card;
  const int result = look(device, __func__, "ecc", &card);
  if (result) return result;
  const Number value[2][2] = {
      {card.ecc_corrected, card.ecc_corrected_total},
      {card.ecc_uncorrected, card.ecc_uncorrected_total},
  };
  if (kind < 0 || kind > 1 || counter < 0 || counter > 1) return INVALID_ARGUMENT;
  *out = (unsigned long long)value[kind][counter];
  return OK;
}

int nvmlDeviceGetRemappedRows(Device device, unsigned *corrected, unsigned *uncorrected,
                              unsigned *pending, unsigned *failed) {
  Card card;
  const int result = look(device, __func__, "rows", &card);
  if (result) return result;
  *corrected = (unsigned)card.rows_corrected;
  *uncorrected = (unsigned)card.rows_uncorrected;
  *pending = (unsigned)card.rows_pending;
  *failed = (unsigned)card.rows_failed;
  return OK;
}

int nvmlDeviceGetMigMode(Device device, unsigned *current, unsigned *pending) {
  Card card;
  const int result = look(device, __func__, "mig", &card);
  if (!result) *current = *pending = (unsigned)card.mig;
  return result;
}

/* Fills at most *count processes; more is "insufficient size", with the number that it takes. */
static int give_processes(const char *list, unsigned *count, Process *out) {
  unsigned n = 0;
  const unsigned room = out ? *count : 0;
  for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',') {
    const char *bytes = strchr(at, ':');
    if (!bytes) return INVALID_ARGUMENT;
    if (n < room) {
      memset(&out[n], 0, sizeof out[n]);
      out[n].pid = (unsigned)atoi(at);
      out[n].bytes = bytes[1] == '-' ? ~0ull : strtoull(bytes + 1, NULL, 10);
    }
    n++;
  }
  *count = n;
  return n > room ? INSUFFICIENT_SIZE : OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned *count, Process *out) {
  Card card;
  const int result = look(device, __func__, "processes", &card);
  return result ? result : give_processes(card.processes, count, out);
}

int nvmlDeviceGetComputeRunningProcesses_v2(Device device, unsigned *count, Process *out) {
  Card card;
  const int result = look(device, __func__, "processes", &card);
  return result ? result : give_processes(card.processes, count, out);
}

/* Fills one field value; the union's other bytes keep the pattern that the caller sees. */
static int give_field(const Card *card, Field *out) {
  static const struct { unsigned id; const char *signal; unsigned type; size_t offset; } FIELDS[] = {
      {82, "mem_temp", UNSIGNED_INT, offsetof(Card, mem_temp)},
      {83, "energy", UNSIGNED_LONG_LONG, offsetof(Card, energy_mj)},
      {94, "replays", UNSIGNED_INT, offsetof(Card, replays)},
      {193, "tlimit", SIGNED_INT, offsetof(Card, shutdown_offset)},
      {194, "tlimit", SIGNED_INT, offsetof(Card, slowdown_offset)},
      {196, "tlimit", SIGNED_INT, offsetof(Card, gpu_max_offset)},
  };
  for (size_t i = 0; i < COUNT(FIELDS); i++) {
    if (FIELDS[i].id != out->id) continue;
    const char *code = find_word(card->refuses, FIELDS[i].signal);
    if (code) return atoi(code + 1);
    const Number value = *(const Number *)((const char *)card + FIELDS[i].offset);
    out->type = FIELDS[i].type;
    if (out->type == SIGNED_INT) out->value.si = (int)value;
    else if (out->type == UNSIGNED_INT) out->value.ui = (unsigned)value;
    else out->value.ull = (unsigned long long)value;
    return OK;
  }
  return INVALID_ARGUMENT;
}

int nvmlDeviceGetFieldValues(Device device, int count, Field *values) {
  Card card;
  int result = look(device, __func__, NULL, &card);
  if (result) return result;
  for (int i = 0; i < count; i++) {
    memset(&values[i].value, 0xA5, sizeof values[i].value);
    values[i].result = give_field(&card, &values[i]);
  }
  return OK;
}

/* ---- faults ---- */

/* The fault after the first *told*, or 0. */
static unsigned long long next_xid(const char *list, unsigned told) {
  for (; told && *list; told--) list += strcspn(list, ","), list += *list == ',';
  return strtoull(list, NULL, 10);
}

int nvmlEventSetCreate(EventSet **out) {
  pthread_mutex_lock(&lock);
  const int result = blocked(__func__);
  pthread_mutex_unlock(&lock);
  if (!result) *out = calloc(1, sizeof **out);
  return result;
}

int nvmlEventSetFree(EventSet *set) {
  free(set);
  return OK;
}

int nvmlDeviceRegisterEvents(Device device, unsigned long long types, EventSet *set) {
  Card card;
  const int result = look(device, __func__, "events", &card);
  if (set->undefined) abort();
  set->undefined = result == UNKNOWN;
  if (result) return result;
  if (types != XID_EVENT) return INVALID_ARGUMENT;
  const unsigned index = (unsigned)(size_t)device - 1u;
  /* Faults before the registration are lost. */
  if (!set->watched[index])
    while (next_xid(card.xids, set->told[index])) set->told[index]++;
  set->watched[index] = 1;
  return OK;
}

/* What a look at the watched cards gives: an event, an error, or TIMEOUT; the lock is held. */
static int look_for_event(EventSet *set, Event *out) {
  if (set->undefined) abort();
  if (set->spoilt) return set->spoilt;
  for (unsigned i = 0; i < state.count; i++) {
    const unsigned long long xid = next_xid(state.card[i].xids, set->told[i]);
    if (!set->watched[i] || !xid) continue;
    set->told[i]++;
    memset(out, 0, sizeof *out);
    out->device = (Device)(size_t)(i + 1u);
    out->type = XID_EVENT;
    out->data = xid;
    return OK;
  }
  for (unsigned i = 0; i < state.count; i++)
    if (set->watched[i] && state.card[i].lost) set->spoilt = (int)state.card[i].lost;
  return set->spoilt ? set->spoilt : TIMEOUT;
}

int nvmlEventSetWait_v2(EventSet *set, Event *out, unsigned timeout_ms) {
  pthread_mutex_lock(&lock);
  int result = blocked(__func__);
  for (unsigned i = 0; !result && i < state.count; i++)
    if (set->watched[i] && find_word(state.card[i].hang, __func__))
      result = wait_for_card(i, __func__);
  if (!result) result = look_for_event(set, out);
  for (unsigned waited = 0; result == TIMEOUT && waited + STEP_MS <= timeout_ms; waited += STEP_MS) {
    pause_call();
    result = look_for_event(set, out);
  }
  pthread_mutex_unlock(&lock);
  return result;
}
