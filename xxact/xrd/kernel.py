"""The compiled half of `reflections`: lattice points, phase sums, intensities, closest atoms.

The lattice points inside the sphere are enumerated without a bounding box, in one half space only
(Friedel); the phase exp(2 pi i (h x + k y + l z)) is a product of three tables made by recurrence;
form factors are evaluated once per element and length |g|.

All of it is in one file: Numba's cache on disk does not notice a change in another.
"""

from __future__ import annotations

import math

import numpy as np

from xxact.compiled import compiled, inlined

MERGE_TOLERANCE_DEG = 1e-5
MIN_RELATIVE_INTENSITY = 1e-5  # of the strongest reflection in range
MAX_LATTICE_POINTS = 2_000_000  # in the half sphere: about 300 MB of working memory
_ROUNDING_DEG = 1e-9  # symmetry-equivalent reflections differ by less, from rounding alone


@inlined
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inlined
def _reciprocal_vectors(lattice):
    """a*, b*, c* as rows, 1/angstrom, without the factor 2 pi: cross products over the volume."""
    star = np.empty((3, 3))
    for axis in range(3):
        b, c = lattice[(axis + 1) % 3], lattice[(axis + 2) % 3]
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            star[axis, i] = b[j] * c[k] - b[k] * c[j]
    volume = _dot(lattice[0], star[0])
    for axis in range(3):
        for i in range(3):
            star[axis, i] /= volume
    return star


@inlined
def _reciprocal_frame(lattice):
    """Reciprocal vectors a*, b*, c* as rows, rotated so that the matrix is upper triangular.

    g = h a* + k b* + l c* is then (h q00, h q01 + k q11, h q02 + k q12 + l q22), so that the
    sphere |g| <= r bounds h alone, then k for each h, then l for each h and k.
    """
    star = _reciprocal_vectors(lattice)
    frame = np.zeros((3, 3))
    frame[2, 2] = math.sqrt(_dot(star[2], star[2]))
    third = star[2] / frame[2, 2]
    frame[1, 2], frame[0, 2] = _dot(star[1], third), _dot(star[0], third)
    rest = star[1] - frame[1, 2] * third
    frame[1, 1] = math.sqrt(_dot(rest, rest))
    frame[0, 1] = _dot(star[0], rest) / frame[1, 1]
    frame[0, 0] = 1 / math.sqrt(_dot(lattice[0], lattice[0]))
    return frame


@inlined
def _phase_table(coordinates, scale, lowest, highest):
    """scale * exp(2 pi i n x) for n = lowest..highest: (n, 2, N) with real and imaginary parts."""
    n_atoms = len(coordinates)
    table = np.empty((highest - lowest + 1, 2, n_atoms))
    for j in range(n_atoms):
        x = coordinates[j] - math.floor(coordinates[j])
        step_re, step_im = math.cos(2 * math.pi * x), math.sin(2 * math.pi * x)
        re, im = 1.0, 0.0
        for n in range(max(highest, -lowest) + 1):
            if n <= highest:
                table[n - lowest, 0, j] = scale[j] * re
                table[n - lowest, 1, j] = scale[j] * im
            if -n >= lowest:
                table[-n - lowest, 0, j] = scale[j] * re
                table[-n - lowest, 1, j] = -scale[j] * im
            re, im = re * step_re - im * step_im, re * step_im + im * step_re
    return table


@inlined
def _interval(centre, radius_squared, spacing):
    """Integers n with (centre + n * spacing)^2 <= radius_squared, one more at each end."""
    radius = math.sqrt(max(radius_squared, 0.0))
    middle = -centre / spacing
    half_width = radius / spacing
    return math.floor(middle - half_width), math.ceil(middle + half_width)


@inlined
def _enlarged(hkl, g_squared, capacity):
    """The same contents with room for more."""
    larger, longer = np.empty((capacity, 3), np.int64), np.empty(capacity)
    for m in range(len(g_squared)):
        longer[m] = g_squared[m]
        for axis in range(3):
            larger[m, axis] = hkl[m, axis]
    return larger, longer


@inlined
def _half_sphere(frame, g_low, g_high):
    """Lattice points with g_low <= |g| <= g_high, one of g and -g: hkl (M, 3), |g|^2 (M,)."""
    limit = g_high**2
    floor = max(g_low**2, 1e-300)
    volume = 1.0 / (frame[0, 0] * frame[1, 1] * frame[2, 2])
    capacity = int(2.2 * g_high**3 * volume) + 256
    hkl = np.empty((capacity, 3), np.int64)
    g_squared = np.empty(capacity)
    n = 0
    for h in range(int(g_high / frame[0, 0]) + 2):
        g0 = h * frame[0, 0]
        k_low, k_high = _interval(h * frame[0, 1], limit - g0 * g0, frame[1, 1])
        for k in range(k_low if h > 0 else 0, k_high + 1):
            g1 = h * frame[0, 1] + k * frame[1, 1]
            rest = limit - g0 * g0 - g1 * g1
            if rest < 0:
                continue
            centre = h * frame[0, 2] + k * frame[1, 2]
            l_low, l_high = _interval(centre, rest, frame[2, 2])
            for index_l in range(l_low if (h > 0 or k > 0) else 1, l_high + 1):
                g2 = centre + index_l * frame[2, 2]
                length = g0 * g0 + g1 * g1 + g2 * g2
                if length < floor or length > limit:
                    continue
                if n == capacity:
                    capacity *= 2
                    hkl, g_squared = _enlarged(hkl, g_squared, capacity)
                hkl[n, 0], hkl[n, 1], hkl[n, 2] = h, k, index_l
                g_squared[n] = length
                n += 1
    return hkl[:n], g_squared[:n]


@inlined
def _damping(h, k, index_l, u):
    """Anisotropic Debye-Waller factor exp(-2 pi^2 hkl^T U* hkl), u (3, 3) symmetric."""
    diagonal = h * h * u[0, 0] + k * k * u[1, 1] + index_l * index_l * u[2, 2]
    mixed = h * k * u[0, 1] + h * index_l * u[0, 2] + k * index_l * u[1, 2]
    return math.exp(-2 * math.pi**2 * (diagonal + 2 * mixed))


@inlined
def _phase_sums(hkl, coords, occupancies, first_atom, u_star):
    """Sum over the atoms of each element of occupancy * exp(2 pi i g.r): (M, E, 2).

    Atoms are ordered by element, those of element e from first_atom[e] to first_atom[e + 1].
    u_star (N, 3, 3) multiplies each atom by exp(-2 pi^2 hkl^T U* hkl); (0, 3, 3) stands for none.
    """
    n_points, n_atoms, n_elements = len(hkl), len(coords), len(first_atom) - 1
    sums = np.zeros((n_points, n_elements, 2))
    if n_points == 0:
        return sums
    ones = np.ones(n_atoms)
    low_k, low_l, high_k, high_l = 0, 0, 0, 0
    for m in range(n_points):
        low_k, high_k = min(low_k, hkl[m, 1]), max(high_k, hkl[m, 1])
        low_l, high_l = min(low_l, hkl[m, 2]), max(high_l, hkl[m, 2])
    table_h = _phase_table(coords[:, 0], occupancies, 0, hkl[n_points - 1, 0])
    table_k = _phase_table(coords[:, 1], ones, low_k, high_k)
    table_l = _phase_table(coords[:, 2], ones, low_l, high_l)
    re, im = np.empty(n_atoms), np.empty(n_atoms)
    last_h, last_k = -1, 0
    for m in range(n_points):
        h, k, index_l = hkl[m, 0], hkl[m, 1], hkl[m, 2]
        if h != last_h or k != last_k:
            last_h, last_k = h, k
            h_re, h_im = table_h[h, 0], table_h[h, 1]
            k_re, k_im = table_k[k - low_k, 0], table_k[k - low_k, 1]
            for j in range(n_atoms):
                re[j] = h_re[j] * k_re[j] - h_im[j] * k_im[j]
                im[j] = h_re[j] * k_im[j] + h_im[j] * k_re[j]
        l_re, l_im = table_l[index_l - low_l, 0], table_l[index_l - low_l, 1]
        for e in range(n_elements):
            sum_re, sum_im = 0.0, 0.0
            if len(u_star) == 0:
                for j in range(first_atom[e], first_atom[e + 1]):
                    sum_re += re[j] * l_re[j] - im[j] * l_im[j]
                    sum_im += re[j] * l_im[j] + im[j] * l_re[j]
            else:
                for j in range(first_atom[e], first_atom[e + 1]):
                    damping = _damping(h, k, index_l, u_star[j])
                    sum_re += damping * (re[j] * l_re[j] - im[j] * l_im[j])
                    sum_im += damping * (re[j] * l_im[j] + im[j] * l_re[j])
            sums[m, e, 0], sums[m, e, 1] = sum_re, sum_im
    return sums


@inlined
def _by_element(numbers):
    """Stable order of the atoms by atomic number (N,) and where each element starts in it (E+1,).

    Atoms mostly come grouped by element, which insertion sorts in linear time.
    """
    n_atoms = len(numbers)
    order = np.arange(n_atoms)
    starts = np.empty(n_atoms + 1, np.int64)
    for i in range(1, n_atoms):
        j = i
        while j > 0 and numbers[order[j - 1]] > numbers[i]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i
    n_elements = 0
    for i in range(n_atoms):
        if i == 0 or numbers[order[i]] != numbers[order[i - 1]]:
            starts[n_elements] = i
            n_elements += 1
    starts[n_elements] = n_atoms
    return order, starts[: n_elements + 1]


@compiled
def points_and_sums(lattice, coords, numbers, occupancies, u_star, g_low, g_high):
    """Lattice points of the half sphere g_low <= |g| <= g_high and their phase sums.

    Returns whether they fit in memory (else there are none), elements (E,), hkl (M, 3),
    |g|^2 (M,), sums (M, E, 2).
    """
    order, starts = _by_element(numbers)
    elements = numbers[order[starts[:-1]]]
    frame = _reciprocal_frame(lattice)
    n_points = 2.1 * g_high**3 / (frame[0, 0] * frame[1, 1] * frame[2, 2])
    n_phases = 0.0
    for axis in range(3):
        n_phases += len(numbers) * g_high * math.sqrt(_dot(lattice[axis], lattice[axis]))
    if max(n_points, n_phases) > MAX_LATTICE_POINTS:
        return False, elements, np.empty((0, 3), np.int64), np.empty(0), np.empty((0, 0, 2))
    hkl, g_squared = _half_sphere(frame, g_low, g_high)
    if len(u_star) > 0:
        u_star = u_star[order]
    sums = _phase_sums(hkl, coords[order], occupancies[order], starts, u_star)
    return True, elements, hkl, g_squared, sums


@inlined
def _form_factors(s_squared, elements, factors, form):
    """Write f(s) of each element (E,) into form (E,); rows of factors: a_1..a_4, b_1..b_4, B."""
    for e in range(len(elements)):
        row = factors[e]
        shape = 0.0
        for i in range(4):
            if row[i] != 0.0:
                shape += row[i] * math.exp(-row[i + 4] * s_squared)
        form[e] = elements[e] - 41.78214 * s_squared * shape
        if row[8] != 0.0:
            form[e] *= math.exp(-row[8] * s_squared)


@compiled
def merge(g_squared, by_length, sums, elements, factors, wavelength, low_deg, high_deg):
    """Intensities from the phase sums, added up in bins of 2-theta; the strongest becomes 100.

    Returns two_theta (R,), intensity (R,), span (R, 2): first and last + 1 of each reflection's
    points in by_length, which holds all points by ascending |g|.
    """
    n_points, n_elements = len(g_squared), len(elements)
    two_theta, intensity = np.empty(n_points), np.empty(n_points)
    span = np.empty((n_points, 2), np.int64)
    form = np.empty(n_elements)
    n, key, last, lorentz = 0, -1.0, -1.0, 0.0
    for position in range(n_points):
        m = by_length[position]
        s_squared = 0.25 * g_squared[m]
        sine = min(wavelength * math.sqrt(s_squared), 1.0)
        angle = math.degrees(2 * math.asin(sine))
        bin_of_point = np.rint(angle / MERGE_TOLERANCE_DEG)
        if bin_of_point != key and angle - last > _ROUNDING_DEG:
            key = bin_of_point
            cos_two_theta = 1 - 2 * sine * sine
            lorentz = (1 + cos_two_theta**2) / (sine * sine * math.sqrt(1 - sine * sine))
            _form_factors(s_squared, elements, factors, form)
            two_theta[n] = min(max(angle, low_deg), high_deg)
            intensity[n] = 0.0
            span[n, 0] = position
            n += 1
        last = angle
        re, im = 0.0, 0.0
        for e in range(n_elements):
            re += form[e] * sums[m, e, 0]
            im += form[e] * sums[m, e, 1]
        intensity[n - 1] += 2 * lorentz * (re * re + im * im)
        span[n - 1, 1] = position + 1
    n = _normalise(two_theta[:n], intensity[:n], span[:n])
    return two_theta[:n], intensity[:n], span[:n]


@inlined
def _normalise(two_theta, intensity, span):
    """Scale the strongest reflection to 100 and move those that are kept to the front: how many."""
    strongest = 0.0
    for i in range(len(intensity)):
        strongest = max(strongest, intensity[i])
    kept = 0
    for i in range(len(intensity)):
        if intensity[i] > MIN_RELATIVE_INTENSITY * strongest:
            two_theta[kept], intensity[kept] = two_theta[i], intensity[i] * (100.0 / strongest)
            span[kept, 0], span[kept, 1] = span[i, 0], span[i, 1]
            kept += 1
    return kept


@compiled
def closest_clash(lattice, coords, occupancies, site, min_distance):
    """First two sites closer than min_distance that cannot share their place, or (-1, -1, 0)."""
    star = _reciprocal_vectors(lattice)
    reach = np.empty(3)  # no two points this far apart in a fraction are closer than min_distance
    for axis in range(3):
        reach[axis] = min_distance * math.sqrt(_dot(star[axis], star[axis]))
    n_sites = site[-1] + 1
    row, total = np.zeros(n_sites, np.int64), np.zeros(n_sites)
    for m in range(len(site)):
        row[site[m]] = m
        total[site[m]] += occupancies[m]
    for i in range(n_sites):
        for j in range(i, n_sites):
            if i != j and total[i] + total[j] <= 1 + 1e-3:
                continue
            distance = _closest_image(lattice, coords[row[i]], coords[row[j]], reach, i == j)
            if distance < min_distance:
                return i, j, distance
    return -1, -1, 0.0


@inlined
def _closest_image(lattice, start, end, reach, itself):
    """Least distance to an image of end; infinite without one whose fractions are all in reach."""
    a, b, c = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    closest = np.inf
    for u in range(math.ceil(-a - reach[0]), math.floor(reach[0] - a) + 1):
        for v in range(math.ceil(-b - reach[1]), math.floor(reach[1] - b) + 1):
            for w in range(math.ceil(-c - reach[2]), math.floor(reach[2] - c) + 1):
                if itself and u == 0 and v == 0 and w == 0:
                    continue
                squared = 0.0
                for axis in range(3):
                    squared += (
                        (a + u) * lattice[0, axis]
                        + (b + v) * lattice[1, axis]
                        + (c + w) * lattice[2, axis]
                    ) ** 2
                closest = min(closest, math.sqrt(squared))
    return closest
