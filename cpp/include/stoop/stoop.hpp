// Everything an application needs. The order of the includes is the order in which to read them.
#pragma once

#include <stoop/api.hpp>
#include <stoop/types.hpp>
#include <stoop/input.hpp>
#include <stoop/error.hpp>
#include <stoop/layers.hpp>
#include <stoop/losses.hpp>
#include <stoop/schedules.hpp>
#include <stoop/optimizers.hpp>
#include <stoop/optimizer_step.hpp>
#include <stoop/minimize.hpp>
#include <stoop/averages.hpp>
#include <stoop/model.hpp>
#include <stoop/predictor.hpp>
#include <stoop/world.hpp>
#include <stoop/ensemble.hpp>
#include <stoop/trainer.hpp>
#include <stoop/fit_many.hpp>
#include <stoop/augment.hpp>
#include <stoop/gradcheck.hpp>
#include <stoop/diagnose.hpp>
#include <stoop/profile.hpp>
#include <stoop/runtime.hpp>
