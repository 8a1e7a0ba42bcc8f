"""Times in every form that programs write: the right values are those of pandas.date_range."""

import numpy as np
import pytest

from keras_gates.edge.series import read_series
from keras_gates.edge.tflite import EdgeError

pandas = pytest.importorskip("pandas", reason="tables need the extra `files`")
HOURS = pandas.date_range("2024-01-20 22:00", periods=80, freq="h")


def series_of(tmp_path, times, head="date", **options):
    path = tmp_path / "series.csv"
    path.write_text(f"{head},x\n" + "".join(f"{time},{row}\n" for row, time in enumerate(times)))
    return read_series(path, **options)


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S+00:00", "%d.%m.%Y %H:%M", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M",
        "%m/%d/%Y %I:%M %p", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%d-%m-%Y %H:%M", "%d %b %Y %H:%M", "%s",
    ],
)  # fmt: skip
def test_hours_in_every_form(tmp_path, form):
    times = [str(time.value // 10**9) for time in HOURS.as_unit("ns")] if form == "%s" else HOURS.strftime(form)
    series = series_of(tmp_path, times)
    np.testing.assert_array_equal(series.seconds(), HOURS.to_numpy("datetime64[s]").astype("int64"))
    np.testing.assert_array_equal(series.values[:, 0], np.arange(80))
    assert series.times.frequency == "h"
    assert series.times.after(2).equals(pandas.date_range("2024-01-24 06:00", periods=2, freq="h"))


@pytest.mark.parametrize("factor", [1, 1000, 10**6, 10**9])
def test_seconds_and_their_fractions_since_1970(tmp_path, factor):
    series = series_of(tmp_path, [(1704067200 + 3600 * hour) * factor for hour in range(5)])
    np.testing.assert_array_equal(series.seconds(), 1704067200 + 3600 * np.arange(5))


@pytest.mark.parametrize("frequency", ["B", "MS", "ME", "QS-JAN", "YS-JAN", "W-SUN", "D", "15min", "s"])
def test_frequencies_of_pandas_are_no_gaps(tmp_path, frequency):
    times = pandas.date_range("2020-01-01", periods=30, freq=frequency)
    series = series_of(tmp_path, times)
    assert series.times.frequency == frequency
    following = pandas.date_range(times[-1], periods=4, freq=frequency)[1:]
    assert list(series.times.after(3)) == list(following)


def test_days_and_dates_without_separators(tmp_path):
    days = pandas.date_range("2024-01-02", periods=5)
    assert list(series_of(tmp_path, days.strftime("%Y%m%d")).times.index) == list(days)
    months = pandas.date_range("2024-01-01", periods=5, freq="MS")
    for form in ("%Y%m", "%Y-%m"):
        assert list(series_of(tmp_path, months.strftime(form)).times.index) == list(months)
    assert series_of(tmp_path, range(2010, 2015)).times.index[-1] == pandas.Timestamp("2014-01-01")


def test_date_and_time_in_two_columns(tmp_path):
    series = series_of(tmp_path, HOURS.strftime("%d.%m.%Y,%H:%M"), head="Date,Time")
    assert list(series.times.index) == list(HOURS)
    assert series.names == ["x"]


def test_day_and_month_are_decided_by_the_column_or_asked_for(tmp_path):
    first = series_of(tmp_path, ["11/02/2023", "12/02/2023", "13/02/2023"])
    assert "dates are day/month/year" in first.notes
    assert first.times.index[0] == pandas.Timestamp("2023-02-11")
    assert series_of(tmp_path, ["02/11/2023", "02/12/2023", "02/13/2023"]).times.index.equals(first.times.index)
    assert series_of(tmp_path, ["10/02/2023", "11/02/2023", "12/02/2023"]).times.index[0] == pandas.Timestamp(
        "2023-02-10"
    )
    with pytest.raises(EdgeError, match="--set day_first=True or False"):
        series_of(tmp_path, ["01/01/2023", "02/01/2023", "03/01/2023", "04/01/2023"])  # days, or the first of months
    assert series_of(tmp_path, ["01/01/2023", "02/01/2023", "03/01/2023"], day_first=False).times.frequency == "MS"


def test_daylight_saving_time(tmp_path):
    for start, shift in (("2024-03-30 20:00", "2 days|0 days 02:00:00"), ("2024-10-26 20:00", "daylight-saving")):
        moments = pandas.date_range(start, periods=14, freq="h", tz="Europe/Berlin")
        written = moments.strftime("%Y-%m-%d %H:%M")
        with pytest.raises(EdgeError, match=f"timezone=Europe/Berlin|{shift}"):
            series_of(tmp_path, written)
        series = series_of(tmp_path, written, timezone="Europe/Berlin")
        assert list(series.times.index) == list(moments.tz_convert("UTC").tz_localize(None))


def test_an_hour_that_is_missing_may_be_a_change_of_the_clock_unless_the_zone_is_known(tmp_path):
    with pytest.raises(EdgeError, match="change of daylight-saving time, --set timezone=Europe/Berlin"):
        series_of(tmp_path, HOURS.delete(5))
    with pytest.raises(EdgeError, match="comes 0 days 02:00:00 after") as error:
        series_of(tmp_path, HOURS.delete(5), timezone="Europe/Berlin")
    assert "daylight-saving" not in str(error.value)


def test_times_after_the_last_of_about_even_ones_go_on_with_their_median_step(tmp_path):
    late = pandas.to_timedelta(np.random.default_rng(0).integers(0, 2, 40), unit="s")
    times = pandas.date_range("2024-01-20 22:00", periods=40, freq="min") + late
    series = series_of(tmp_path, times)
    assert series.times.frequency is None
    step = pandas.Series(times).diff().median()
    assert list(series.times.after(2)) == [times[-1] + step, times[-1] + 2 * step]


def test_gaps_are_named_and_filled_on_request(tmp_path):
    days = pandas.date_range("2024-01-01", periods=20, freq="B")
    kept = days.delete([4, 5])
    with pytest.raises(
        EdgeError, match=r"line 6, column 'date': 2024-01-09 .* 2 times are missing .* 'B'; --set fill=previous"
    ):
        series_of(tmp_path, kept)
    previous, between = (series_of(tmp_path, kept, fill=kind) for kind in ("previous", "interpolate"))
    assert list(previous.times.index) == list(days)
    np.testing.assert_array_equal(previous.values[3:7, 0], [3, 3, 3, 4])
    np.testing.assert_allclose(between.values[3:7, 0], [3, 3 + 1 / 3, 3 + 2 / 3, 4])


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["soon", "later", "never"], "line 2, column 'date': 'soon' is not a time"),
        (["1704067200", "1704067260", "inf"], "line 4, .*'inf' is not a time"),
        (["2024-01-01", "2024-01-02", ""], "line 4, .*'' is not a time"),
        (["10:30", "11:30", "12:30"], "'10:30' is not a time"),
        (["2024-01-01", "2024-01-03", "2024-01-02"], "line 4, .*sort the rows"),
        (["2024-01-01", "2024-01-01", "2024-01-01"], "line 3, .*sort the rows, one per time"),
        (["2024-01-01"], "at least 3"),
    ],
)
def test_times_that_cannot_be_read(tmp_path, times, message):
    with pytest.raises(EdgeError, match=message):
        series_of(tmp_path, times)


def test_the_newest_row_first_is_reversed(tmp_path):
    series = series_of(tmp_path, pandas.date_range("2024-01-01", periods=5)[::-1])
    np.testing.assert_array_equal(series.values[:, 0], [4, 3, 2, 1, 0])
    assert "the newest row comes first: reversed" in series.notes


def test_values_in_a_sheet_of_other_programs(tmp_path):
    pytest.importorskip("openpyxl")
    days = pandas.date_range("2024-01-01", periods=6)
    pandas.DataFrame({"Date": days, "sold": range(6)}).to_excel(tmp_path / "a.xlsx", index=False)
    assert list(read_series(tmp_path / "a.xlsx").times.index) == list(days)
