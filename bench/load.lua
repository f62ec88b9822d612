-- What wrk does besides asking: post a body where one is given, and say the figures in one line.

function init(args)
  if args[1] then
    wrk.method = "POST"
    wrk.body = args[1]
  end
end

-- Whole numbers only, so that no locale and no rounding of wrk's own report gets between.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "FIGURES %d %d %d %d %d\n",
    summary.requests,
    summary.duration,
    latency:percentile(50),
    latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
