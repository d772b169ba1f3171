// What the three files of the stand-in share.
#pragma once

struct C_DeviceInterface;

// Where the host may touch what lies at `address`, be it a device's or the host's own.
__attribute__((visibility("default"))) char* standin_host_view(const void* address);

void standin_add_collectives(C_DeviceInterface* device);
