// A resolver that finds only the operators that were added, through the wheel's own resolver of all of them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tflite {
using BuiltinOperator = int32_t;

namespace micro {
class MicroOpResolver {
   public:
    virtual const void* FindOp(BuiltinOperator) const = 0;
    virtual const void* FindOp(const char*) const = 0;
    virtual void* GetOpDataParser(BuiltinOperator) const = 0;
    virtual ~MicroOpResolver() {}
};
}  // namespace micro

class PythonOpsResolver : public micro::MicroOpResolver {
   public:
    PythonOpsResolver();
    const void* FindOp(BuiltinOperator) const override;
    const void* FindOp(const char*) const override;
    void* GetOpDataParser(BuiltinOperator) const override;

   private:
    alignas(16) char room_[1 << 16];
};

namespace micro {
template <unsigned int most>
class MicroMutableOpResolver : public MicroOpResolver {
   public:
    const void* FindOp(BuiltinOperator op) const override { return added(op) ? all().FindOp(op) : nullptr; }
    const void* FindOp(const char*) const override { return nullptr; }
    void* GetOpDataParser(BuiltinOperator op) const override { return added(op) ? all().GetOpDataParser(op) : nullptr; }

    void AddAdd() { add(0); }
    void AddAddN() { add(106); }
    void AddAveragePool2D() { add(1); }
    void AddBatchMatMul() { add(126); }
    void AddBroadcastTo() { add(130); }
    void AddCast() { add(53); }
    void AddConcatenation() { add(2); }
    void AddConv2D() { add(3); }
    void AddDepthwiseConv2D() { add(4); }
    void AddDequantize() { add(6); }
    void AddDiv() { add(42); }
    void AddEqual() { add(71); }
    void AddExp() { add(47); }
    void AddExpandDims() { add(70); }
    void AddFill() { add(94); }
    void AddFullyConnected() { add(9); }
    void AddGather() { add(36); }
    void AddLeakyRelu() { add(98); }
    void AddLess() { add(58); }
    void AddLogistic() { add(14); }
    void AddLogSoftmax() { add(50); }
    void AddMaximum() { add(55); }
    void AddMaxPool2D() { add(17); }
    void AddMean() { add(40); }
    void AddMinimum() { add(57); }
    void AddMul() { add(18); }
    void AddNeg() { add(59); }
    void AddPack() { add(83); }
    void AddPad() { add(34); }
    void AddQuantize() { add(114); }
    void AddRelu() { add(19); }
    void AddReshape() { add(22); }
    void AddReverseV2() { add(105); }
    void AddRsqrt() { add(76); }
    void AddSelectV2() { add(123); }
    void AddShape() { add(77); }
    void AddSlice() { add(65); }
    void AddSoftmax() { add(25); }
    void AddSplit() { add(49); }
    void AddSplitV() { add(102); }
    void AddSqueeze() { add(43); }
    void AddSqrt() { add(75); }
    void AddSquare() { add(92); }
    void AddStridedSlice() { add(45); }
    void AddSub() { add(41); }
    void AddSum() { add(74); }
    void AddTanh() { add(28); }
    void AddTranspose() { add(39); }
    void AddUnpack() { add(88); }
    void AddUnidirectionalSequenceLSTM() { add(44); }
    void AddWhile() { add(119); }
    void AddZerosLike() { add(93); }

   private:
    void add(BuiltinOperator op) {
        if (count_ < most) codes_[count_++] = op;
    }
    bool added(BuiltinOperator op) const {
        for (unsigned int i = 0; i < count_; ++i) {
            if (codes_[i] == op) return true;
        }
        return false;
    }
    static const MicroOpResolver& all() {
        static const PythonOpsResolver* resolver = new PythonOpsResolver;
        return *resolver;
    }

    unsigned int count_ = 0;
    BuiltinOperator codes_[most];
};
}  // namespace micro
}  // namespace tflite
