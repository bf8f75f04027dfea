/* The C interface of Stoop: models and trainers of float32, in C99 and for whatever language calls C.
 *
 * Every function but the frees returns a stoop_status, or a handle that is NULL after a failure, or a number that is -1
 * after a failure. stoop_last_error() then says what was wrong. No function prints, ends the process or lets a C++
 * exception out.
 *
 * Matrices are row-major and contiguous, belong to the caller, and are read where they lie; the library keeps no pointer
 * to them after the call. Text is UTF-8 and ends with a NUL.
 */
#ifndef STOOP_STOOP_H
#define STOOP_STOOP_H

#include <stdint.h>

/* A shared library exports these functions. With STOOP_STATIC, which CMake and pkg-config define for the static library,
 * a library or program that contains Stoop exports nothing of it. STOOP_EXPORTS is for the build of a DLL alone. */
#if defined(_WIN32) && !defined(STOOP_STATIC)
#if defined(STOOP_EXPORTS)
#define STOOP_C_API __declspec(dllexport)
#else
#define STOOP_C_API __declspec(dllimport)
#endif
#elif defined(STOOP_STATIC) || !defined(__GNUC__)
#define STOOP_C_API
#else
#define STOOP_C_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a call comes to. */
typedef enum stoop_status {
  STOOP_OK = 0,
  STOOP_INVALID_ARGUMENT = 1, /* what the caller gave cannot be used; nothing was changed */
  STOOP_NON_FINITE_LOSS = 2,  /* the loss or an update became infinite or NaN; the model has its last good parameters */
  STOOP_CHECKPOINT = 3,       /* a model or checkpoint file is damaged or does not fit */
  STOOP_IO = 4,               /* the operating system refused a file */
  STOOP_OUT_OF_MEMORY = 5,
  STOOP_BUSY = 6,    /* another thread is using this trainer */
  STOOP_INTERNAL = 7 /* a fault of the library */
} stoop_status;

/* A network with its parameters, a copy of one for predicting few rows, and what trains one. */
typedef struct stoop_model stoop_model;
typedef struct stoop_predictor stoop_predictor;
typedef struct stoop_trainer stoop_trainer;

/* Returns the version of the library, for example "0.1.0". */
STOOP_C_API const char* stoop_version(void);

/* Returns the message of the last call on this thread that failed, or "" if none has. It reads
 * `[where] what was given; what was expected; what to do.`, or with STOOP_IO names the file and the system's reason, and
 * stays until another call on this thread fails. */
STOOP_C_API const char* stoop_last_error(void);

/* Returns the status of that call, which tells why a handle is NULL, or STOOP_OK if none has failed. */
STOOP_C_API int stoop_last_status(void);

/* Makes a model from JSON with the arguments of Python's stoop.Model:
 * {"input_dim": 4, "layers": [{"type": "dense", "units": 8, "activation": "relu"}, {"type": "dense", "units": 3}]}.
 * Free it with stoop_model_free. */
STOOP_C_API stoop_model* stoop_model_create(const char* config_json);

/* Reads a model that stoop_model_save, Python or C++ wrote. Its element type must be float32. */
STOOP_C_API stoop_model* stoop_model_load(const char* path);

/* Writes the model to a safetensors file. A save that fails leaves an old file as it was. */
STOOP_C_API int stoop_model_save(const stoop_model* model, const char* path);

/* Return the columns of x, and those of the outputs. */
STOOP_C_API int64_t stoop_model_input_dim(const stoop_model* model);
STOOP_C_API int64_t stoop_model_output_dim(const stoop_model* model);

/* Computes the outputs of the network for x (rows, input_dim), and writes them to out (rows, output_dim), which must not
 * overlap x. Any number of threads may predict with one model at once, but not while it is trained. */
STOOP_C_API int stoop_model_predict(const stoop_model* model, const float* x, int64_t rows, float* out);

/* Frees the model, or does nothing for NULL. Trainers and predictors of the model go on working. */
STOOP_C_API void stoop_model_free(stoop_model* model);

/* Makes a copy of the model, prepared for predicting up to 8 rows at a time with the least delay. It takes twice the memory
 * of the model, and sees no later change of it: make a new one after training. Making one takes up to 50 ms, since weights
 * of 1 to 4 MB are tried in several places of the memory. Free it with stoop_predictor_free. */
STOOP_C_API stoop_predictor* stoop_predictor_create(const stoop_model* model);

/* Computes the outputs for x (rows, input_dim), with the bits of stoop_model_predict, and writes them to out (rows,
 * output_dim), which must not overlap x. Any number of threads may predict with one predictor at once, also while the model
 * is trained. More than 8 rows take as long as with stoop_model_predict. */
STOOP_C_API int stoop_predictor_predict(const stoop_predictor* predictor, const float* x, int64_t rows, float* out);

/* Frees the predictor, or does nothing for NULL. The model stays. */
STOOP_C_API void stoop_predictor_free(stoop_predictor* predictor);

/* Makes a trainer of this model from JSON with the arguments of Python's stoop.Trainer, or NULL for the defaults:
 * {"loss": "mse", "optimizer": {"type": "adam", "learning_rate": 0.001}, "l2": 1e-4}.
 * The trainer keeps the model alive, so both may be freed in any order. One thread at a time may use a trainer. */
STOOP_C_API stoop_trainer* stoop_trainer_create(stoop_model* model, const char* config_json);

/* Trains on x (rows, input_dim) in mini-batches, and goes on from the current state if it is called again. The loss decides
 * which targets are given, and the other pointer is NULL: classes (rows), from 0 on, or values (rows, output_dim), of
 * gaussian_nll (rows, output_dim / 2), because it takes a mean and a variance for each value.
 * The options are JSON with the arguments of Python's Trainer.fit, or NULL for the defaults:
 * {"epochs": 20, "batch_size": 64, "validation_split": 0.1}. */
STOOP_C_API int stoop_trainer_fit(stoop_trainer* trainer, const float* x, int64_t rows, const int32_t* classes,
                                  const float* values, const char* options_json);

/* Makes one update on this batch. Writes the loss before the update, regularisation included, unless `loss` is NULL. */
STOOP_C_API int stoop_trainer_step(stoop_trainer* trainer, const float* x, int64_t rows, const int32_t* classes,
                                   const float* values, double* loss);

/* Writes the loss, regularisation included, and the share of samples that are predicted right. The accuracy is NaN for
 * losses that compare no classes or labels. Either pointer may be NULL. */
STOOP_C_API int stoop_trainer_evaluate(stoop_trainer* trainer, const float* x, int64_t rows, const int32_t* classes,
                                       const float* values, double* loss, double* accuracy);

/* Writes a checkpoint: the model and all that training carries on, so that another process goes on to the same bits. */
STOOP_C_API int stoop_trainer_save_checkpoint(const stoop_trainer* trainer, const char* path);

/* Goes on from a checkpoint of a trainer with the same layers and settings, which C, Python or C++ wrote. Nothing is changed
 * after a failure. */
STOOP_C_API int stoop_trainer_load_checkpoint(stoop_trainer* trainer, const char* path);

/* Frees the trainer, or does nothing for NULL. The model stays. */
STOOP_C_API void stoop_trainer_free(stoop_trainer* trainer);

#ifdef __cplusplus
}
#endif

#endif
