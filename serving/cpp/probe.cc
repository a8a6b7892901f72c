// Loads a SavedModel with TensorFlow's C++ loader, as TF Serving does, and answers requests, without Python.
//
//   probe VERSION REQUESTS ANSWERS REPEATS LIBRARY...
//
// REQUESTS and ANSWERS are sequences of NamedTensorProto, each after its length in 4 bytes, little-endian. One without a
// tensor starts a request (its name is the signature's) or an answer; those that follow are the request's inputs or the
// answer's outputs, in the order of their names. The libraries hold TF Text's operations. Every request is run once, then
// REPEATS times more; the mean of these, in milliseconds, is printed, one line a request.

#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/c/c_api.h"
#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/compiler/jit/flags.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/protobuf/named_tensor.pb.h"
#include "tensorflow/core/public/session.h"

namespace {

using tensorflow::NamedTensorProto;
using tensorflow::Tensor;

int Fail(const std::string& what) {
  std::cerr << what << std::endl;
  return 1;
}

bool Read(std::istream& stream, NamedTensorProto* message) {
  std::uint32_t size = 0;
  if (!stream.read(reinterpret_cast<char*>(&size), sizeof size)) return false;
  std::string bytes(size, '\0');
  return stream.read(bytes.data(), size) && message->ParseFromString(bytes);
}

void Write(std::ostream& stream, const NamedTensorProto& message) {
  const std::string bytes = message.SerializeAsString();
  const std::uint32_t size = bytes.size();
  stream.write(reinterpret_cast<const char*>(&size), sizeof size);
  stream.write(bytes.data(), size);
}

struct Request {
  std::string signature;
  std::map<std::string, Tensor> inputs;
};

bool ReadRequests(const char* path, std::vector<Request>* requests) {
  std::ifstream stream(path, std::ios::binary);
  NamedTensorProto message;
  while (Read(stream, &message)) {
    if (message.tensor().dtype() == tensorflow::DT_INVALID) {
      requests->push_back({message.name(), {}});
    } else if (requests->empty() || !requests->back().inputs[message.name()].FromProto(message.tensor())) {
      return false;
    }
  }
  return stream.eof() && !requests->empty();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return Fail("usage: probe VERSION REQUESTS ANSWERS REPEATS LIBRARY...");
  const int repeats = std::stoi(argv[4]);
  for (int i = 5; i < argc; ++i) {
    TF_Status* status = TF_NewStatus();
    TF_LoadLibrary(argv[i], status);
    if (TF_GetCode(status) != TF_OK) return Fail(std::string(argv[i]) + ": " + TF_Message(status));
    TF_DeleteStatus(status);
  }
  tensorflow::DisableXlaCompilation();  // as TF Serving does
  std::vector<Request> requests;
  if (!ReadRequests(argv[2], &requests)) return Fail(std::string(argv[2]) + ": no requests");

  tensorflow::SavedModelBundle bundle;
  const absl::Status loaded = tensorflow::LoadSavedModel(tensorflow::SessionOptions(), tensorflow::RunOptions(), argv[1],
                                                         {"serve"}, &bundle);
  if (!loaded.ok()) return Fail("load: " + std::string(loaded.message()));

  std::ofstream answers(argv[3], std::ios::binary);
  for (const Request& request : requests) {
    const auto found = bundle.GetSignatures().find(request.signature);
    if (found == bundle.GetSignatures().end()) return Fail("no signature " + request.signature);
    std::vector<std::pair<std::string, Tensor>> feeds;
    for (const auto& [name, value] : request.inputs) {
      const auto input = found->second.inputs().find(name);
      if (input == found->second.inputs().end()) return Fail(request.signature + ": no input " + name);
      feeds.emplace_back(input->second.name(), value);
    }
    std::map<std::string, std::string> sorted;
    for (const auto& [name, info] : found->second.outputs()) sorted[name] = info.name();
    std::vector<std::string> fetches;
    for (const auto& [name, tensor] : sorted) fetches.push_back(tensor);

    std::vector<Tensor> outputs;
    std::chrono::duration<double, std::milli> spent(0);
    for (int run = 0; run <= repeats; ++run) {
      const auto start = std::chrono::steady_clock::now();
      const absl::Status status = bundle.session->Run(feeds, fetches, {}, &outputs);
      if (!status.ok()) return Fail(request.signature + ": " + std::string(status.message()));
      if (run > 0) spent += std::chrono::steady_clock::now() - start;
    }
    std::cout << (repeats > 0 ? spent.count() / repeats : 0.0) << std::endl;

    NamedTensorProto message;
    message.set_name(request.signature);
    Write(answers, message);
    std::size_t place = 0;
    for (const auto& [name, tensor] : sorted) {
      message.set_name(name);
      outputs[place++].AsProtoField(message.mutable_tensor());
      Write(answers, message);
    }
  }
  return answers.flush() ? 0 : Fail(std::string(argv[3]) + ": cannot be written");
}
