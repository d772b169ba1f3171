// Collectives between the processes of one machine, each standing for a device: through shared memory, in rounds.
//
// In a round each process lays a piece of its buffer on the table, all wait for each other, each reads what it needs,
// and all wait again. Sums are taken in the order of ranks, so that every process gets the same bits.
#include "paddle/phi/backends/device_ext.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <thread>

#include "standin.h"

namespace {

constexpr size_t kPiece = 4 << 20;  // bytes of one process in one round
constexpr auto kPatience = std::chrono::seconds(120);

struct Table {
  std::atomic<int> seated, waiting, round;
};

struct Communicator {
  size_t size, rank, bytes;
  Table* table;  // fresh shared pages are zero, whoever comes first
  int round = 0;

  char* piece(size_t of) const { return reinterpret_cast<char*>(table) + sizeof(Table) + of * kPiece; }

  bool wait_for_all() {
    int next = ++round;
    if (table->waiting.fetch_add(1) + 1 == static_cast<int>(size)) {
      table->waiting = 0;
      table->round = next;
    }
    return until([&] { return table->round.load() >= next; });
  }

  template <typename Condition>
  static bool until(Condition condition) {
    auto begun = std::chrono::steady_clock::now();
    while (!condition()) {
      if (std::chrono::steady_clock::now() - begun > kPatience) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    return true;
  }
};

Communicator* of(C_CCLComm communicator) { return reinterpret_cast<Communicator*>(communicator); }

size_t bytes_of(C_DataType type) {
  switch (type) {
    case BOOL: case UINT8: case INT8: return 1;
    case FLOAT16: case BFLOAT16: case INT16: case UINT16: return 2;
    case FLOAT32: case INT32: case UINT32: return 4;
    default: return 8;
  }
}

// Give `send` (null: lay down nothing) to all, a piece at a time; `read(offset, bytes)` runs while all pieces lie there.
template <typename Read>
C_Status exchange(Communicator* group, const char* send, size_t bytes, Read read) {
  for (size_t offset = 0; offset < bytes; offset += kPiece) {
    size_t now = std::min(kPiece, bytes - offset);
    if (send) std::memcpy(group->piece(group->rank), send + offset, now);
    if (!group->wait_for_all()) return C_FAILED;
    read(offset, now);
    if (!group->wait_for_all()) return C_FAILED;
  }
  return C_SUCCESS;
}

template <typename Number>
void reduce_pieces(const Communicator* group, char* into, size_t bytes, C_CCLReduceOp how) {
  for (size_t at = 0; at < bytes; at += sizeof(Number)) {
    Number total, next;
    std::memcpy(&total, group->piece(0) + at, sizeof(Number));
    for (size_t rank = 1; rank < group->size; ++rank) {
      std::memcpy(&next, group->piece(rank) + at, sizeof(Number));
      total = how == MAX ? std::max(total, next) : how == MIN ? std::min(total, next) : total + next;
    }
    if (how == AVG) total /= static_cast<Number>(group->size);
    std::memcpy(into + at, &total, sizeof(Number));
  }
}

C_Status all_reduce(void* send, void* receive, size_t count, C_DataType type, C_CCLReduceOp how, C_CCLComm communicator,
                    C_Stream) {
  if (how == PRODUCT || (type != FLOAT32 && type != INT32 && type != INT64)) return C_FAILED;
  Communicator* group = of(communicator);
  char* into = standin_host_view(receive);
  return exchange(group, standin_host_view(send), count * bytes_of(type), [&](size_t offset, size_t now) {
    if (type == FLOAT32) reduce_pieces<float>(group, into + offset, now, how);
    if (type == INT32) reduce_pieces<int32_t>(group, into + offset, now, how);
    if (type == INT64) reduce_pieces<int64_t>(group, into + offset, now, how);
  });
}

C_Status all_gather(void* send, void* receive, size_t count, C_DataType type, C_CCLComm communicator, C_Stream) {
  Communicator* group = of(communicator);
  size_t bytes = count * bytes_of(type);
  char* into = standin_host_view(receive);
  return exchange(group, standin_host_view(send), bytes, [&](size_t offset, size_t now) {
    for (size_t rank = 0; rank < group->size; ++rank)
      std::memcpy(into + rank * bytes + offset, group->piece(rank), now);
  });
}

C_Status broadcast(void* buffer, size_t count, C_DataType type, size_t root, C_CCLComm communicator, C_Stream) {
  Communicator* group = of(communicator);
  char* view = standin_host_view(buffer);
  return exchange(group, group->rank == root ? view : nullptr, count * bytes_of(type), [&](size_t offset, size_t now) {
    if (group->rank != root) std::memcpy(view + offset, group->piece(root), now);
  });
}

C_Status get_name(C_CCLComm, char* name) {
  std::strcpy(name, "standin");
  return C_SUCCESS;
}
C_Status get_id_size(size_t* size) {
  *size = 64;
  return C_SUCCESS;
}
C_Status get_id(C_CCLRootId* id) {
  std::random_device random;
  std::memset(id->data, 0, id->sz);
  std::snprintf(static_cast<char*>(id->data), id->sz, "/standin-%d-%08x%08x", getpid(), random(), random());
  return C_SUCCESS;
}

C_Status join(size_t size, C_CCLRootId* id, size_t rank, C_CCLComm* communicator) {
  const char* name = static_cast<const char*>(id->data);
  size_t bytes = sizeof(Table) + size * kPiece;
  int file = shm_open(name, O_CREAT | O_RDWR, 0600);
  if (file < 0 || ftruncate(file, static_cast<off_t>(bytes))) return C_FAILED;
  void* shared = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (shared == MAP_FAILED) return C_FAILED;
  auto* group = new Communicator{size, rank, bytes, static_cast<Table*>(shared)};
  group->table->seated++;
  if (!Communicator::until([&] { return group->table->seated.load() >= static_cast<int>(size); })) return C_FAILED;
  if (rank == 0) shm_unlink(name);  // all are seated: a process that dies leaves nothing behind
  *communicator = reinterpret_cast<C_CCLComm>(group);
  return C_SUCCESS;
}
C_Status leave(C_CCLComm communicator) {
  munmap(of(communicator)->table, of(communicator)->bytes);
  delete of(communicator);
  return C_SUCCESS;
}
C_Status nothing() { return C_SUCCESS; }

}  // namespace

void standin_add_collectives(C_DeviceInterface* device) {
  device->xccl_get_comm_name = get_name;
  device->xccl_get_unique_id_size = get_id_size;
  device->xccl_get_unique_id = get_id;
  device->xccl_comm_init_rank = join;
  device->xccl_destroy_comm = leave;
  device->xccl_group_start = device->xccl_group_end = nothing;
  device->xccl_all_reduce = all_reduce;
  device->xccl_all_gather = all_gather;
  device->xccl_broadcast = broadcast;
}
