# The extension module stoop._core; scikit-build-core installs its component `python` into the wheel.
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 CONFIG REQUIRED)

# NO_EXTRAS: link-time optimisation buys nothing for thin bindings and slows each rebuild.
pybind11_add_module(_core MODULE NO_EXTRAS
  python/bindings/module.cpp
  python/bindings/bind_augment.cpp
  python/bindings/bind_ensemble.cpp
  python/bindings/bind_errors.cpp
  python/bindings/bind_fit_many.cpp
  python/bindings/bind_gradcheck.cpp
  python/bindings/bind_machine.cpp
  python/bindings/bind_model.cpp
  python/bindings/bind_optimizers.cpp
  python/bindings/bind_pieces.cpp
  python/bindings/bind_predictor.cpp
  python/bindings/bind_runtime.cpp
  python/bindings/bind_specs.cpp
  python/bindings/bind_checkpoint.cpp
  python/bindings/bind_trainer.cpp
  python/bindings/bind_world.cpp
)
target_include_directories(_core PRIVATE python/bindings)
# config_json.hpp is the one private header the bindings use: configurations cross the boundary as JSON text.
target_include_directories(_core PRIVATE cpp/src)
target_link_libraries(_core PRIVATE stoop::private)
stoop_set_flags(_core)
# Most of the time of a binding's file goes into these.
target_precompile_headers(_core PRIVATE <pybind11/numpy.h> <pybind11/stl.h> <stoop/stoop.hpp>)
# One name is for others to see. Copies of std:: functions would otherwise be, and another module of the process could get
# them in place of its own.
if(APPLE)
  target_link_options(_core PRIVATE LINKER:-exported_symbol,_PyInit__core)
elseif(UNIX)
  target_link_options(_core PRIVATE LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/exports_python.map)
  set_target_properties(_core PROPERTIES LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/exports_python.map)
endif()
install(TARGETS _core LIBRARY DESTINATION stoop COMPONENT python)
