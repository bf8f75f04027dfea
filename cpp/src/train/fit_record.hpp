// What a fit that resumes must agree with.
#pragma once

#include <filesystem>

#include <stoop/checkpoint.hpp>

#include "../data/dataset.hpp"

namespace stoop::inline v0_1 {

// A checksum of some rows of the samples and their targets, cheap enough for each fit: other data have another.
template <class T>
std::uint32_t checksum_of(const Dataset<T>& data);

// Throws CheckpointError if the fit that wrote `path` was another: its samples, or how it cut them.
void check_record(const std::filesystem::path& path, const FitRecord& written, const FitRecord& own);

}  // namespace stoop
