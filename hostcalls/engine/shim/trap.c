/* The trap of a guest that was ended early, copied out of Wasmtime's objects. */
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "text.h"

struct trap_report {
    trap_view view;
    wasm_byte_vec_t message;
    wasm_frame_vec_t trace;
    frame_view *frames;
};

static void describe_frames(trap_report *r) {
    r->frames = calloc(r->trace.size + 1, sizeof *r->frames);
    if (r->frames == NULL) {
        return;
    }
    for (size_t i = 0; i < r->trace.size; i++) {
        const wasm_frame_t *frame = r->trace.data[i];
        const wasm_name_t *module = wasmtime_frame_module_name(frame);
        const wasm_name_t *function = wasmtime_frame_func_name(frame);
        r->frames[i] = (frame_view){
            .module = module == NULL ? NULL : module->data,
            .module_size = module == NULL ? 0 : module->size,
            .function = function == NULL ? NULL : function->data,
            .function_size = function == NULL ? 0 : function->size,
            .index = wasm_frame_func_index(frame),
            .offset = wasm_frame_module_offset(frame),
        };
    }
    r->view.frames = r->frames;
    r->view.frame_count = r->trace.size;
}

void trap_describe(guest *g) {
    trap_report *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return;
    }
    r->view.fault = g->fault;
    r->view.code = -1;
    if (g->trap != NULL) {
        uint8_t code;
        if (wasmtime_trap_code(g->trap, &code)) {
            r->view.code = code;
        }
        wasm_trap_message(g->trap, &r->message);
        wasm_trap_trace(g->trap, &r->trace);
    } else {
        wasmtime_error_message(g->error, &r->message);
        wasmtime_error_wasm_trace(g->error, &r->trace);
    }
    if (g->fault != FAULT_NONE) {
        r->view.message = g->fault_text != NULL ? g->fault_text : "no memory";
        r->view.message_size = strlen(r->view.message);
    } else {
        /* A trap's message ends in a zero byte, an error's does not. */
        r->view.message = r->message.data;
        r->view.message_size = strnlen(r->message.data, r->message.size);
    }
    describe_frames(r);
    g->report = r;
}

void trap_free(trap_report *r) {
    if (r == NULL) {
        return;
    }
    free(r->frames);
    wasm_frame_vec_delete(&r->trace);
    wasm_byte_vec_delete(&r->message);
    free(r);
}

const trap_view *guest_trap(const guest *g) {
    return g->report == NULL ? NULL : &g->report->view;
}
